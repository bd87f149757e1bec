"""vision_msgs/Detection2DArray to the detections of an external detector."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from vision_msgs.msg import Detection2D, Detection2DArray

from ..structures import Detection, Side


def detections(message: Detection2DArray, right: Collection[str], left: Collection[str]) -> list[Detection]:
    """Hands with a side; what is neither in ``right`` nor in ``left`` (class ids) is not a hand and left out.

    A box that is turned becomes the upright box around it. Of several hypotheses the one with the highest score counts.
    """
    found = (_detection(item, right, left) for item in message.detections)
    return [detection for detection in found if detection is not None]


def _detection(message: Detection2D, right: Collection[str], left: Collection[str]) -> Detection | None:
    hypotheses = [result.hypothesis for result in message.results if result.hypothesis.class_id in {*right, *left}]
    if not hypotheses:
        return None
    best = max(hypotheses, key=lambda hypothesis: hypothesis.score)
    box = _upright_box(message)
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        return None
    return Detection(box=box, side=Side.RIGHT if best.class_id in right else Side.LEFT, score=best.score)


def _upright_box(message: Detection2D) -> np.ndarray:
    box = message.bbox
    cosine, sine = abs(np.cos(box.center.theta)), abs(np.sin(box.center.theta))
    half = np.array([box.size_x * cosine + box.size_y * sine, box.size_x * sine + box.size_y * cosine]) / 2
    centre = np.array([box.center.position.x, box.center.position.y])
    return np.concatenate([centre - half, centre + half])
