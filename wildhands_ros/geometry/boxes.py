"""Axis-aligned boxes in pixels: x_min, y_min, x_max, y_max."""

from __future__ import annotations

import numpy as np

HAND_MARGIN = 0.08
"""How far a hand reaches beyond its keypoints, as a share of the longer side of their box."""


# Plain numbers are eight times as fast as arrays of four elements, and these are called dozens of times per frame.


def box_area(box: np.ndarray) -> float:
    """Returns the area of a (4,) box."""
    x0, y0, x1, y1 = box.tolist()
    return (x1 - x0) * (y1 - y0)


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the area of the intersection of two (4,) boxes."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.tolist(), b.tolist()
    return max(min(ax1, bx1) - max(ax0, bx0), 0.0) * max(min(ay1, by1) - max(ay0, by0), 0.0)


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the intersection over union of two (4,) boxes."""
    overlap = box_overlap(a, b)
    union = box_area(a) + box_area(b) - overlap
    return overlap / union if union > 0 else 0.0


def box_ious(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Returns the (N,) intersection over union of (N, 4) boxes with a (4,) box."""
    sides = np.clip(np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]), 0, None)
    overlap = sides.prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - overlap
    return overlap / np.maximum(union, 1e-12)


def hand_box(keypoints: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns the box of a hand, given its keypoints.

    Args:
        keypoints: (21, 2) pixels.
        width: Width of the image.
        height: Height of the image.

    Returns:
        (4,) box of the keypoints with a margin for the flesh around them, clipped to the image.
    """
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    margin = HAND_MARGIN * (high - low).max()
    last = (width - 1, height - 1)
    return np.concatenate([np.clip(low - margin, 0, last), np.clip(high + margin, 0, last)])


def rotation_matrix_2d(angle: float) -> np.ndarray:
    """Returns the (2, 2) rotation by ``angle`` radians, clockwise as seen in the image (y points down)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def rotated_square(points: np.ndarray, angle: float) -> np.ndarray:
    """Returns the square for a rotated crop around points.

    A rotated crop is stored as an axis-aligned square, of which only the centre and the side length count.

    Args:
        points: (N, 2) pixels; NaN points are ignored.
        angle: Rotation of the crop in radians.

    Returns:
        (4,) square. Its centre and side are the centre and the longer side of the points' bounding box along the
        rotated axes.
    """
    axes = rotation_matrix_2d(angle)
    along = points @ axes  # rows: coordinates along the rotated axes
    low, high = np.nanmin(along, axis=0), np.nanmax(along, axis=0)
    centre, half = axes @ ((low + high) / 2), float((high - low).max()) / 2
    return np.concatenate([centre - half, centre + half])
