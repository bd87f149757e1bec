"""One hand that was found twice, and a part of a hand that was taken for one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry.boxes import box_iou
from ..types import Detection

_SAME_KEYPOINTS = 0.25
"""Two hands whose keypoints lie closer than this, on average and over the larger hand's size, are one hand found twice."""
_SAME_SIZE = 0.6
"""And whose sizes differ by no more than this factor; else the smaller may be a part of the larger."""
_SAME_BOX = 0.7
"""Overlap from which two boxes are of one hand, unless their sides differ and both have keypoints: then they may be in each other."""
_FRAGMENT_SIZE, _FRAGMENT_WITHIN = 0.6, 0.75
"""A hand with less than this share of another's area, more than that share of which lies within the other's box, is a part of it."""


def without_duplicates(hands: Sequence[Detection]) -> list[Detection]:
    """Best first, of several detections of one hand only the best; an unknown score (NaN) counts as the best. Hands that are in each other
    stay two."""
    kept: list[Detection] = []
    for hand in sorted(hands, key=lambda hand: -np.nan_to_num(hand.score, nan=1.0)):
        if not any(same_hand(hand, other) for other in kept):
            kept.append(hand)
    return [hand for hand in kept if not any(_is_part(hand, other) for other in kept)]


def same_hand(a: Detection, b: Detection) -> bool:
    """Whether two detections are of one hand."""
    overlap = box_iou(a.box, b.box)
    if a.keypoints is None or b.keypoints is None:
        return overlap > _SAME_BOX
    points = np.stack([a.known_keypoints, b.known_keypoints])
    known = np.isfinite(points).all(axis=(0, 2))
    return (known.any() and _are_close(points[:, known])) or (a.side is b.side and overlap > _SAME_BOX)


def _are_close(points: np.ndarray) -> bool:
    """Whether (2, N, 2) keypoints that two hands have in common are about the same."""
    small, large = np.sort(np.ptp(points, axis=1).max(axis=1))
    return bool(
        np.linalg.norm(points[0] - points[1], axis=1).mean() < _SAME_KEYPOINTS * large and small > _SAME_SIZE * large
    )


def _is_part(hand: Detection, other: Detection) -> bool:
    low, high = np.maximum(hand.box[:2], other.box[:2]), np.minimum(hand.box[2:], other.box[2:])
    area, other_area = (hand.box[2:] - hand.box[:2]).prod(), (other.box[2:] - other.box[:2]).prod()
    return bool(area < _FRAGMENT_SIZE * other_area and np.clip(high - low, 0, None).prod() > _FRAGMENT_WITHIN * area)
