"""Suppresses hands that were found twice and fragments of hands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry.boxes import box_area, box_iou, box_overlap
from ..types import Detection

_SAME_KEYPOINTS = 0.25
"""Two detections are of one hand if their keypoints are closer than this on average, as a share of the larger hand."""
_SAME_SIZE = 0.6
"""Minimum ratio of their sizes; otherwise the smaller one may be a fragment of the larger one."""
_SAME_BOX = 0.7
"""IoU above which two boxes are of one hand. If both have keypoints and their sides differ, they may be interlocked
hands and are both kept."""
_FRAGMENT_SIZE, _FRAGMENT_WITHIN = 0.6, 0.75
"""A fragment has less than this share of another hand's area, and more than that share of it lies in the other's
box."""


def without_duplicates(hands: Sequence[Detection]) -> list[Detection]:
    """Suppresses duplicates.

    Of several detections of one hand, the one with the best score is kept; an unknown score (NaN) counts as the best. A
    whole hand suppresses its fragments. Interlocked hands are not merged.

    Returns:
        The remaining hands, best first.
    """
    kept: list[Detection] = []
    for hand in sorted(hands, key=lambda hand: -np.nan_to_num(hand.score, nan=1.0)):
        if not any(same_hand(hand, other) for other in kept):
            kept.append(hand)
    return [hand for hand in kept if not any(_is_fragment(hand, other) for other in kept)]


def same_hand(a: Detection, b: Detection) -> bool:
    """Returns whether two detections are of one hand."""
    overlap = box_iou(a.box, b.box)
    a_points, b_points = a.known_keypoints, b.known_keypoints
    if a_points is None or b_points is None:
        return overlap > _SAME_BOX
    points = np.stack([a_points, b_points])
    known = np.isfinite(points).all(axis=(0, 2))
    return bool(known.any() and _are_close(points[:, known])) or (a.side is b.side and overlap > _SAME_BOX)


def _are_close(points: np.ndarray) -> bool:
    """Returns whether the (2, N, 2) keypoints that two hands share are about the same."""
    small, large = np.sort(np.ptp(points, axis=1).max(axis=1))
    return bool(
        np.linalg.norm(points[0] - points[1], axis=1).mean() < _SAME_KEYPOINTS * large and small > _SAME_SIZE * large
    )


def _is_fragment(hand: Detection, other: Detection) -> bool:
    area = box_area(hand.box)
    return area < _FRAGMENT_SIZE * box_area(other.box) and box_overlap(hand.box, other.box) > _FRAGMENT_WITHIN * area
