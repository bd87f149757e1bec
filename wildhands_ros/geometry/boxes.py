"""Axis-aligned boxes in pixels: x_min, y_min, x_max, y_max."""

from __future__ import annotations

import numpy as np

FLESH = 0.08
"""How far a hand reaches beyond its keypoints, over the longer side of their box."""


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (4,) boxes."""
    # On plain numbers: eight times as fast as arrays of four, and asked for dozens of times a frame.
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.tolist(), b.tolist()
    overlap = max(min(ax1, bx1) - max(ax0, bx0), 0.0) * max(min(ay1, by1) - max(ay0, by0), 0.0)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap
    return overlap / union if union > 0 else 0.0


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
