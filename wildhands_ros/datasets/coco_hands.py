"""A folder of photographs with COCO-style hand keypoints: OneHand10K, RHD, FreiHAND and others as mmpose stores them,
and the labels of ``wildhands self-label --hands``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..io.errors import InputError, foreign_bytes
from ..io.images import load_image
from ..io.paths import below
from ..types import Side
from .labels import LabelledHand, LabelledImage

BASE_TO_TIP = tuple(range(21))
TIP_TO_BASE = (0, *(4 * finger + 4 - joint for finger in range(5) for joint in range(4)))
JOINT_ORDERS = {"RHD": TIP_TO_BASE}
"""Joint orders other than MediaPipe's, by the file's ``info.description``: our joint i is the file's joint
``order[i]``."""


class AnnotationError(InputError):
    """The annotations cannot be used; the message says why."""


def read_coco_hands(folder: str | Path, annotations: str | Path | None = None) -> list[LabelledImage]:
    """Read the annotations of a folder of photographs.

    Args:
        folder: Contains the photographs.
        annotations: COCO-style ``.json`` file; None for all those in the folder.

    Returns:
        One image per annotated hand, in the order of the annotations: each hand is a sample of its own, even where a
        photograph shows several. The name is the photograph's path; the camera is a guess where the file states no
        intrinsics.

    Raises:
        AnnotationError: There is no such file, or it does not have 21 keypoints per hand.
    """
    files = sorted(Path(folder).glob("*.json")) if annotations is None else [Path(annotations)]
    if not files:
        raise AnnotationError(f"{folder}: no .json file with COCO-style hand keypoints in this folder")
    return [image for file in files for image in _read_file(file, Path(folder))]


def _read_file(file: Path, folder: Path) -> list[LabelledImage]:
    with foreign_bytes(file, "hand keypoints in the style of COCO", AnnotationError):
        content = json.loads(file.read_text())
        images = {image["id"]: image for image in content["images"]}
        order = JOINT_ORDERS.get(content.get("info", {}).get("description"), BASE_TO_TIP)
        return [
            _read_hand(annotation, images[annotation["image_id"]], folder, order)
            for annotation in content["annotations"]
        ]


def _read_hand(annotation: dict, image: dict, folder: Path, order: tuple[int, ...]) -> LabelledImage:
    keypoints = np.array(annotation["keypoints"], dtype=np.float64).reshape(21, 3)[list(order)]
    x, y, width, height = annotation["bbox"]
    size = int(image["width"]), int(image["height"])
    polygons = [np.array(polygon, np.float64).reshape(-1, 2) for polygon in annotation.get("segmentation", ())]
    joints = None
    if "joint_cam" in annotation:
        joints = np.array(annotation["joint_cam"])[list(order)] / 1000  # stored in millimetres
    hand = LabelledHand(
        box=np.array([x, y, x + width, y + height], dtype=np.float64),
        side=Side(annotation["hand_type"]) if "hand_type" in annotation else None,
        keypoints=np.where(keypoints[:, 2:] > 0, keypoints[:, :2], np.nan),
        joints=joints,
        load_mask=partial(_mask, polygons, size) if polygons else None,
    )
    path = below(folder, image["file_name"])
    camera, intrinsics = Camera.guess(*size), image.get("cam_param")
    if intrinsics is not None:
        (fx, fy), (cx, cy) = intrinsics["focal"], intrinsics["princpt"]
        camera = Camera.pinhole(fx, fy, cx, cy, *size)
    return LabelledImage(
        name=str(path),
        load_image=partial(_load, path, size),
        camera=camera,
        hands=(hand,),
        camera_is_known=intrinsics is not None,
    )


def _mask(polygons: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Draw the (N, 2) polygons of a hand's outline; returns (H, W) bool."""
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32) for polygon in polygons], (1,))
    return mask.astype(bool)


def _load(path: Path, size: tuple[int, int]) -> np.ndarray:
    image = load_image(path)
    if image.shape[1::-1] != size:
        raise InputError(
            f"the image is {image.shape[1]}x{image.shape[0]}, but its annotations are for {size[0]}x{size[1]}"
        )
    return image
