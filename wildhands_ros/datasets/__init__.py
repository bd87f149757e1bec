"""Readers of public data sets of hands, in the formats in which their authors and WildHands' publish them (spec 3.4)."""

from __future__ import annotations

from pathlib import Path

from .arctic import Arctic
from .assembly_hands import AssemblyHands
from .base import DatasetError, HandDataset
from .ego4d import Ego4DGrasps, Ego4DMasks
from .ego_exo import EgoExo4D
from .epic import EpicGrasps, EpicHandKps, EpicMasks, EpicPredictedMasks
from .freihand import FreiHand
from .h2o import H2O
from .interhand import InterHand
from .labels import LabelledHand, LabelledImage, ManoLabel, Supervision

__all__ = [
    "DATASETS",
    "DatasetError",
    "HandDataset",
    "LabelledHand",
    "LabelledImage",
    "ManoLabel",
    "Supervision",
    "open_dataset",
]

_READERS: tuple[type[HandDataset], ...] = (
    Arctic,
    AssemblyHands,
    EpicGrasps,
    EpicMasks,
    EpicPredictedMasks,
    EpicHandKps,
    Ego4DGrasps,
    Ego4DMasks,
    EgoExo4D,
    H2O,
    FreiHand,
    InterHand,
)

DATASETS: dict[str, type[HandDataset]] = {reader.NAME: reader for reader in _READERS}
"""The readers by name; ``DATASETS[name].describe()`` says what to download, where to put it and on which terms."""


def open_dataset(name: str, root: str | Path, split: str, *, paper_labels: bool = False) -> HandDataset:
    """Opens a data set; see ``HandDataset`` for the arguments.

    :raises DatasetError: there is none of that name, or its files are missing or damaged.
    """
    if name not in DATASETS:
        raise DatasetError(f"there is no data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name](root, split, paper_labels)
