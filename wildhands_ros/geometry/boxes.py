"""Axis-aligned boxes in pixels: x_min, y_min, x_max, y_max."""

from __future__ import annotations

import numpy as np

FLESH = 0.08
"""How far a hand reaches beyond its keypoints, over the longer side of their box."""


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (4,) boxes."""
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    return float(overlap / union) if union > 0 else 0.0


def hand_box(keypoints: np.ndarray, width: int, height: int) -> np.ndarray:
    """(4,) box of the hand with these keypoints (21, 2) in a picture of this size: theirs and the flesh around, cut off at its edge."""
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    margin = FLESH * (high - low).max()
    last = (width - 1, height - 1)
    return np.concatenate([np.clip(low - margin, 0, last), np.clip(high + margin, 0, last)])


def turn_matrix_2d(turn: float) -> np.ndarray:
    """(2, 2) rotation by ``turn`` radians, clockwise as pictures are seen (y down)."""
    cosine, sine = np.cos(turn), np.sin(turn)
    return np.array([[cosine, -sine], [sine, cosine]])


def turned_square(points: np.ndarray, turn: float) -> np.ndarray:
    """(4,) square with the centre and the longer side of the box that points fill along axes turned by ``turn``.

    The points are (N, 2); NaN ones are left out.
    It stands for a turned crop, of which only centre and size count.
    """
    axes = turn_matrix_2d(turn)
    along = points @ axes  # rows: coordinates along the turned axes
    low, high = np.nanmin(along, axis=0), np.nanmax(along, axis=0)
    centre, half = axes @ ((low + high) / 2), float((high - low).max()) / 2
    return np.concatenate([centre - half, centre + half])
