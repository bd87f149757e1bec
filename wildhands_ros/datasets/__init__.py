"""Readers of public hand datasets, in the formats in which their authors and the authors of WildHands publish them."""

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
"""The readers by name; ``DATASETS[name].describe()`` states what to download, where to put it, and the licence."""


def open_dataset(name: str, root: str | Path, split: str, *, paper_labels: bool = False) -> HandDataset:
    """Open a dataset.

    Args:
        name: A key of ``DATASETS``.
        root: The folder with its files.
        split: One of the reader's ``SPLITS``.
        paper_labels: Repeat the paper's mistakes; see ``HandDataset``.

    Raises:
        DatasetError: There is no such dataset, or its files are missing or damaged.
    """
    if name not in DATASETS:
        raise DatasetError(f"there is no dataset {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name](root, split, paper_labels)
