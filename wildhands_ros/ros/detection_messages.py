"""Conversion of vision_msgs/Detection2DArray, as YOLO wrappers and similar nodes publish it, to detections of hands."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from vision_msgs.msg import Detection2D, Detection2DArray

from ..fitting.detection_fit import LEAST_KEYPOINTS
from ..io.errors import printable
from ..types import Detection, Side

NUM_KEYPOINTS = 21
_KEYPOINTS = {f"keypoint_{number}": number for number in range(NUM_KEYPOINTS)}
"""Results of class ``keypoint_0`` to ``keypoint_20`` (MediaPipe order) are keypoints: x and y of ``pose.pose.position``
are its pixel, and the score is its confidence. All other results are hypotheses about the class of the box."""
MAX_HANDS = 16
"""Detections of hands that are used in one image, the ones with the highest scores: as many as the node can report."""
MIN_BOX = 1.0
"""Width and height in pixels below which a box is empty."""
MAX_RESULTS = 256
"""Results of one detection that are read, hypotheses and keypoints together."""
SCORE_TOLERANCE = 1e-3
"""Rounding by which a score may leave the range from 0 to 1."""
MAX_NAMES = 8
"""Class ids that are named in the reason for which a detection is ignored, and ..."""
MAX_NAME_LENGTH = 40
"""... their length in characters."""


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
    """Returns the hands among the detections of a ``width`` x ``height`` image, the one with the highest score first.

    A rotated box is replaced by the upright box around it, which is clipped to the image and one image size around it.
    Of several hypotheses the one with the highest score is used. Of more than ``MAX_HANDS`` hands,
    those with the highest scores are used.
    """
    found = HandDetections()
    hands: list[tuple[Detection2D, _Hypothesis]] = []
    for item in message.detections:
        best, problem = _hand_hypothesis(item, class_ids)
        if best is None:
            found.ignored[problem] += 1
        else:
            hands.append((item, best))
    hands.sort(key=lambda hand: hand[1].score, reverse=True)
    if len(hands) > MAX_HANDS:
        found.ignored[f"more than {MAX_HANDS} hands"] += len(hands) - MAX_HANDS
    size = np.array([width, height], float)
    for item, best in hands[:MAX_HANDS]:
        box = _upright_box(item)
        if not np.isfinite(box).all() or (box[2:] - box[:2] < MIN_BOX).any():
            found.ignored["empty or non-finite box"] += 1
        elif (box[2:] <= 0).any() or (box[:2] >= size - 1).any():
            found.ignored["box outside the image"] += 1
        else:
            # A hand that reaches out of the image has a box that does, too; beyond that, a large box says nothing more.
            box = np.concatenate([np.maximum(box[:2], -size), np.minimum(box[2:], 2 * size)])
            keypoints, weights = _keypoints(item, size)
            side = class_ids.side(best.class_id)
            found.hands.append(Detection(box, side, best.score, keypoints=keypoints, keypoint_weights=weights))
    return found


@dataclass(frozen=True)
class _Hypothesis:
    class_id: str
    score: float


def _hand_hypothesis(item: Detection2D, class_ids: HandClassIds) -> tuple[_Hypothesis | None, str]:
    """Returns the best hypothesis that a detection is a hand, or None and why the detection is ignored."""
    results = item.results[:MAX_RESULTS]
    known = [result.hypothesis for result in results if result.hypothesis.class_id in class_ids]
    if not known:
        names = sorted({name for result in results if (name := result.hypothesis.class_id) not in _KEYPOINTS})
        shown = ", ".join(" ".join(printable(name[:MAX_NAME_LENGTH]).split()) for name in names[:MAX_NAMES]) or "(none)"
        return None, f"class {shown}{', ...' if len(names) > MAX_NAMES else ''}"
    finite = [hypothesis for hypothesis in known if math.isfinite(hypothesis.score)]
    if not finite:
        return None, "score is NaN or infinite"
    best = max(finite, key=lambda hypothesis: hypothesis.score)
    if not -SCORE_TOLERANCE <= best.score <= 1 + SCORE_TOLERANCE:
        return None, "score outside 0 to 1"
    return _Hypothesis(best.class_id, min(max(best.score, 0.0), 1.0)), ""


def _keypoints(item: Detection2D, size: np.ndarray) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Returns (21, 2) pixels and (21,) weights; None if too few (the landmark network then finds all).

    Keypoints more than an image size away from the image are ignored.
    """
    points, weights = np.zeros((NUM_KEYPOINTS, 2)), np.zeros(NUM_KEYPOINTS)
    for result in item.results[:MAX_RESULTS]:
        number = _KEYPOINTS.get(result.hypothesis.class_id)
        if number is not None:
            position, score = result.pose.pose.position, result.hypothesis.score
            pixel = np.array([position.x, position.y])
            # False for NaN.
            if math.isfinite(score) and (np.abs(pixel - size / 2) <= 1.5 * size).all():
                points[number], weights[number] = pixel, np.clip(score, 0, 1)
    return (points, weights) if np.count_nonzero(weights) >= LEAST_KEYPOINTS else (None, None)


def _upright_box(message: Detection2D) -> np.ndarray:
    box = message.bbox
    with np.errstate(over="ignore", invalid="ignore"):  # The caller checks the result.
        cosine, sine = np.abs(np.cos(box.center.theta)), np.abs(np.sin(box.center.theta))
        half = np.array([box.size_x * cosine + box.size_y * sine, box.size_x * sine + box.size_y * cosine]) / 2
        centre = np.array([box.center.position.x, box.center.position.y])
        return np.concatenate([centre - half, centre + half])
