"""Conversion of vision_msgs/Detection2DArray, as YOLO wrappers and similar nodes publish it, to detections of hands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from vision_msgs.msg import Detection2D, Detection2DArray

from ..fitting.detection_fit import LEAST_KEYPOINTS
from ..types import Detection, Side

KEYPOINT_PREFIX = "keypoint_"
"""Results of class ``keypoint_0`` to ``keypoint_20`` (MediaPipe order) are keypoints: x and y of ``pose.pose.position``
are its pixel, and the score is its confidence. All other results are hypotheses about the class of the box."""
NUM_KEYPOINTS = 21


@dataclass(frozen=True)
class HandClassIds:
    """Class ids that a detector gives to hands."""

    right: tuple[str, ...]
    left: tuple[str, ...]
    hand: tuple[str, ...] = ()
    """Class ids of hands whose side the detector does not determine."""

    def __contains__(self, class_id: str) -> bool:
        return class_id in self.right or class_id in self.left or class_id in self.hand

    def side(self, class_id: str) -> Side | None:
        """Returns the side that a class id stands for; None if it does not determine the side."""
        if class_id in self.right:
            return Side.RIGHT
        return Side.LEFT if class_id in self.left else None


@dataclass
class HandDetections:
    """The hands among the detections of an image."""

    hands: list[Detection] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    """Number of ignored detections by reason."""


def hand_detections(message: Detection2DArray, class_ids: HandClassIds, width: int, height: int) -> HandDetections:
    """Returns the hands among the detections of a ``width`` x ``height`` image.

    A rotated box is replaced by the upright box around it. Of several hypotheses the one with the highest score is
    used.
    """
    found = HandDetections()
    for item in message.detections:
        known = [result.hypothesis for result in item.results if result.hypothesis.class_id in class_ids]
        box = _upright_box(item)
        if not known:
            ids = {result.hypothesis.class_id for result in item.results}
            names = ", ".join(sorted(name for name in ids if not _is_keypoint(name)))
            found.ignored[f"class {names or '(none)'}"] += 1
        elif not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
            found.ignored["empty or non-finite box"] += 1
        elif (box[2:] <= 0).any() or (box[:2] >= (width - 1, height - 1)).any():
            found.ignored["box outside the image"] += 1
        else:
            best = max(known, key=lambda hypothesis: hypothesis.score)
            keypoints, weights = _keypoints(item)
            found.hands.append(
                Detection(box, class_ids.side(best.class_id), best.score, keypoints=keypoints, keypoint_weights=weights)
            )
    return found


def _is_keypoint(class_id: str) -> bool:
    number = class_id.removeprefix(KEYPOINT_PREFIX)
    return number != class_id and number.isascii() and number.isdigit() and int(number) < NUM_KEYPOINTS


def _keypoints(item: Detection2D) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Returns (21, 2) pixels and (21,) weights; None if too few (the landmark network then finds all)."""
    points, weights = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    for result in item.results:
        if _is_keypoint(result.hypothesis.class_id):
            position, score = result.pose.pose.position, result.hypothesis.score
            if np.isfinite([position.x, position.y, score]).all():
                number = int(result.hypothesis.class_id.removeprefix(KEYPOINT_PREFIX))
                points[number], weights[number] = (position.x, position.y), np.clip(score, 0, 1)
    return (points, weights) if np.count_nonzero(weights) >= LEAST_KEYPOINTS else (None, None)


def _upright_box(message: Detection2D) -> np.ndarray:
    box = message.bbox
    cosine, sine = abs(np.cos(box.center.theta)), abs(np.sin(box.center.theta))
    half = np.array([box.size_x * cosine + box.size_y * sine, box.size_x * sine + box.size_y * cosine]) / 2
    centre = np.array([box.center.position.x, box.center.position.y])
    return np.concatenate([centre - half, centre + half])
