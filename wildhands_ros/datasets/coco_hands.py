"""A folder of photographs with COCO-style hand keypoints: OneHand10K, RHD, FreiHAND and others as mmpose stores them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..geometry.camera import Camera
from ..types import Side

BASE_TO_TIP = tuple(range(21))
TIP_TO_BASE = (0, *(4 * finger + 4 - joint for finger in range(5) for joint in range(4)))
JOINT_ORDERS = {"RHD": TIP_TO_BASE}
"""``info.description`` of the data sets whose joints are not in MediaPipe order: our joint i is their joint ``order[i]``."""


class AnnotationError(ValueError):
    """The annotations cannot be used; the message says why."""


@dataclass(frozen=True)
class AnnotatedHand:
    """The truth about one hand in one photograph."""

    image: Path
    camera: Camera
    camera_is_known: bool
    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max in pixels."""
    keypoints: np.ndarray
    """(21, 2) pixels, MediaPipe order."""
    visible: np.ndarray
    """(21,) bool: annotated keypoints."""
    side: Side | None
    joints: np.ndarray | None
    """(21, 3) metres in the camera frame, or None."""


def read_coco_hands(folder: str | Path) -> list[AnnotatedHand]:
    """All annotated hands of the COCO-style json file(s) in ``folder``.

    :raises AnnotationError: no such file, or one that does not hold 21 keypoints a hand.
    """
    files = sorted(Path(folder).glob("*.json"))
    if not files:
        raise AnnotationError(f"{folder}: no .json file with COCO-style hand keypoints in this folder")
    return [hand for file in files for hand in _read_file(file)]


def _read_file(file: Path) -> list[AnnotatedHand]:
    try:
        content = json.loads(file.read_text())
        images = {image["id"]: image for image in content["images"]}
        order = JOINT_ORDERS.get(content.get("info", {}).get("description"), BASE_TO_TIP)
        return [
            _read_hand(annotation, images[annotation["image_id"]], file.parent, order)
            for annotation in content["annotations"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{file}: not COCO-style hand keypoints ({type(error).__name__}: {error})") from error


def _read_hand(annotation: dict, image: dict, folder: Path, order: tuple[int, ...]) -> AnnotatedHand:
    keypoints = np.array(annotation["keypoints"], dtype=np.float64).reshape(21, 3)[list(order)]
    x, y, width, height = annotation["bbox"]
    size = image["width"], image["height"]
    lens = image.get("cam_param")
    joints = (
        np.array(annotation["joint_cam"])[list(order)] / 1000 if "joint_cam" in annotation else None
    )  # stored in millimetres
    return AnnotatedHand(
        image=folder / image["file_name"],
        camera=Camera.pinhole(*lens["focal"], *lens["princpt"], *size) if lens else Camera.guess(*size),
        camera_is_known=lens is not None,
        box=np.array([x, y, x + width, y + height], dtype=np.float64),
        keypoints=keypoints[:, :2],
        visible=keypoints[:, 2] > 0,
        side=Side(annotation["hand_type"]) if "hand_type" in annotation else None,
        joints=joints,
    )
