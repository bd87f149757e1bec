"""vision_msgs/Detection2DArray, as nodes around YOLO and its like publish it, to detections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from vision_msgs.msg import Detection2D, Detection2DArray

from ..fitting.detection_fit import LEAST_KEYPOINTS
from ..types import Detection, Side

KEYPOINT_PREFIX = "keypoint_"
"""Results of class ``keypoint_0`` to ``keypoint_20`` (MediaPipe order) hold a keypoint: its pixel is ``pose.pose.position``, x and y, its
score how sure it is. Other results say what the box holds."""
NUM_KEYPOINTS = 21


@dataclass(frozen=True)
class Labels:
    """Class ids of hands; a detector that does not tell the side has ``hand`` ones."""

    right: tuple[str, ...]
    left: tuple[str, ...]
    hand: tuple[str, ...] = ()

    def __contains__(self, class_id: str) -> bool:
        return class_id in self.right or class_id in self.left or class_id in self.hand

    def side(self, class_id: str) -> Side | None:
        if class_id in self.right:
            return Side.RIGHT
        return Side.LEFT if class_id in self.left else None


def detections(
    message: Detection2DArray, labels: Labels, width: int, height: int
) -> tuple[list[Detection], Counter[str]]:
    """The hands among the detections of a picture of this size, and what was left out, by reason.

    A box that is turned becomes the upright box around it. Of several hypotheses the one with the highest score counts.
    """
    found, left_out = [], Counter()
    for item in message.detections:
        known = [result.hypothesis for result in item.results if result.hypothesis.class_id in labels]
        box = _upright_box(item)
        if not known:
            ids = sorted(
                {result.hypothesis.class_id for result in item.results if not _is_keypoint(result.hypothesis.class_id)}
            )
            left_out[f"class {', '.join(ids) or '(none)'}"] += 1
        elif not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
            left_out["box that is empty or not finite"] += 1
        elif (box[2:] <= 0).any() or (box[:2] >= (width - 1, height - 1)).any():
            left_out["box outside of the image"] += 1
        else:
            best = max(known, key=lambda hypothesis: hypothesis.score)
            keypoints, weights = _keypoints(item)
            found.append(
                Detection(box, labels.side(best.class_id), best.score, keypoints=keypoints, keypoint_weights=weights)
            )
    return found, left_out


def _is_keypoint(class_id: str) -> bool:
    number = class_id.removeprefix(KEYPOINT_PREFIX)
    return number != class_id and number.isascii() and number.isdigit() and int(number) < NUM_KEYPOINTS


def _keypoints(item: Detection2D) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(21, 2) pixels and (21,) weights, or None where too few came along: the landmark network then looks for all."""
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
