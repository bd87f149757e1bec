"""This project's own labels of real images: the split, sides, keypoints and corrections, in ``labels/*.json``.

They name images by source and file name; the images are not part of the package. All files are Apache-2.0.

- ``split.json``: {source: {scene, or file name of an image that is a scene of its own: split}}
- ``sides.json``: {source: {file name: [[x, y, width, height, "left" or "right"], ...]}}
- ``keypoints.json``: {source: {file name: [{"bbox": ..., "keypoints": 21 x [x, y, known]}, ...]}}
- ``corrections.json``: {source: {file name: [{"action", "bbox", "new_bbox", "reason"}, ...]}}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...types import Side
from .split import SINGLE

FOLDER = Path(__file__).parent / "labels"
ACTIONS = ("add", "remove", "replace", "ignore", "incomplete")
"""Kinds of corrections: a missing box; a box without a hand; a wrong box; a box of what is hardly a hand, which then
counts neither way; an image in which not every hand has a box."""


@dataclass(frozen=True, eq=False)
class OwnHand:
    """Label of one hand."""

    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max: the box of the source that it belongs to."""
    side: Side | None = None
    keypoints: np.ndarray | None = None
    """(21, 2) pixels, NaN where unknown."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Correction of the source's boxes."""

    action: str
    """One of ``ACTIONS``."""
    box: np.ndarray | None
    """(4,) box of the source that is wrong."""
    new_box: np.ndarray | None
    """(4,) box that takes its place."""
    reason: str


@dataclass(frozen=True)
class OwnImage:
    """Labels of one image."""

    hands: tuple[OwnHand, ...] = ()
    corrections: tuple[Correction, ...] = ()


class OwnLabels:
    """All labels of a folder.

    Args:
        folder: Contains the JSON files, each of which may be missing; None for no labels.
    """

    def __init__(self, folder: Path | None):
        self._split, self._sides, self._keypoints, self._corrections = (
            _load(folder / f"{name}.json") if folder is not None else {}
            for name in ("split", "sides", "keypoints", "corrections")
        )

    def split_of(self, source: str, scene: str, name: str) -> str | None:
        """Return the split of an image; None if its scene is unknown."""
        return self._split.get(source, {}).get(name if scene == SINGLE else scene)

    def of_image(self, source: str, name: str) -> OwnImage:
        """Return the labels of one image."""
        hands = [
            OwnHand(_corners(values[:4]), side=Side(values[4])) for values in self._sides.get(source, {}).get(name, ())
        ]
        for entry in self._keypoints.get(source, {}).get(name, ()):
            points = np.array(entry["keypoints"], float)
            known = np.where(points[:, 2:] > 0, points[:, :2], np.nan)
            hands.append(OwnHand(_corners(entry["bbox"]), keypoints=known))
        corrections = [
            Correction(
                entry["action"],
                _corners(entry["bbox"]) if "bbox" in entry else None,
                _new_box(entry),
                entry["reason"],
            )
            for entry in self._corrections.get(source, {}).get(name, ())
        ]
        return OwnImage(tuple(hands), tuple(corrections))


@lru_cache(maxsize=1)
def own_labels() -> OwnLabels:
    """Return the labels that are part of the package."""
    return OwnLabels(FOLDER)


def _load(file: Path) -> dict:
    return json.loads(file.read_text()) if file.is_file() else {}


def _new_box(entry: dict) -> np.ndarray | None:
    if "new_bbox" in entry:
        return _corners(entry["new_bbox"])
    return _corners(entry["bbox"]) if entry["action"] == "ignore" else None


def _corners(bbox: list[float]) -> np.ndarray:
    x, y, width, height = bbox
    return np.array([x, y, x + width, y + height])
