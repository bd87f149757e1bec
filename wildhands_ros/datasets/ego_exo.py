"""EgoExo4D's hand annotations (Grauman et al., CVPR 2024) as used in the evaluation of WildHands."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..geometry.camera import Camera
from ..io.safe_numpy import read_pickle
from ..types import Side
from .base import HandDataset, clipped_box, keypoint_box
from .joint_orders import NAMES
from .labels import LabelledHand, LabelledImage, drop_unknown

MIN_JOINTS = 4
"""Least number of labelled 2D joints of a hand (the reference requires more than three)."""
MAX_PROJECTION_ERROR = 0.05
"""Fraction of the image's longer side: 3D joints that project farther than this from the 2D joints are not in this
camera's frame."""


class EgoExo4D(HandDataset):
    """EgoExo4D: hands in skilled activities, egocentric Aria camera, with joints, for evaluation.

    The file also contains the images, in RGB order, and is read at once. An image may be a scaled version of the one
    that the intrinsics belong to.
    """

    NAME = "egoexo4d"
    SPLITS = ("val",)
    SUPERVISION = frozenset()
    LAYOUT = "ego4d_hands/joint_annotations_egoexo_val.pkl    images and labels"
    SOURCE = (
        "the preprocessed labels that the README of github.com/ap229997/hands links to, once Ego-Exo4D's "
        "licence is signed "
        "(ego-exo4d-data.org)."
    )
    LICENSE = "Ego-Exo4D's licence agreement, to be signed; no redistribution."

    def _read_annotations(self) -> None:
        path = self._find("ego4d_hands/joint_annotations_egoexo_val.pkl")
        with self._reading(path):
            self._samples = [
                sample for name, entry in read_pickle(path).items() if (sample := self._read_sample(str(name), entry))
            ]

    def _read_sample(self, name: str, entry: dict[str, Any]) -> LabelledImage | None:
        image = np.asarray(entry["img"])
        height, width = (int(side) for side in entry["crop_size"])
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            self._skip("sample: the image is not of the stated size, or not of 8 bits")
            return None
        k = np.array(entry["intrx"], np.float64).reshape(3, 3)
        if not np.isfinite(k).all() or not (k[0, 0] > 0 and k[1, 1] > 0):
            self._skip("sample: camera that is not finite")
            return None
        full_width, full_height = (int(side) for side in entry["image_size"])
        camera = Camera(k, full_width, full_height).resized(width, height)
        hands = [self._read_hand(camera, side, entry) for side in Side]
        if not any(hands):
            self._skip("sample: no usable hand")
            return None
        return self._sample(name, partial(np.asarray, image), camera, hands)

    def _read_hand(self, camera: Camera, side: Side, entry: dict[str, Any]) -> LabelledHand | None:
        names = [f"{side.value}_{joint}" for joint in NAMES]
        keypoints = np.array(
            [[entry["j2d"].get(name, {}).get(axis, np.nan) for axis in "xy"] for name in names], np.float64
        )
        joints = np.array(
            [[entry["j3d"].get(name, {}).get(axis, np.nan) for axis in "xyz"] for name in names], np.float64
        )
        # A joint without a label has no entry, so a label that is not finite is an error in the data.
        valid, joints_valid = np.isfinite(keypoints).all(axis=1), np.isfinite(joints).all(axis=1)
        if (
            sum(name in entry["j2d"] for name in names) > valid.sum()
            or sum(name in entry["j3d"] for name in names) > joints_valid.sum()
        ):
            self._skip("hand: joints that are not finite")
            return None
        if valid.sum() < MIN_JOINTS:
            if valid.any():
                self._skip("hand: fewer than four labelled joints")
            return None
        both = valid & joints_valid
        errors = np.linalg.norm(camera.project(joints[both]) - keypoints[both], axis=1)
        # Negated, so that joints behind the camera, whose projections are NaN, are found, too.
        if both.any() and not np.median(errors) <= MAX_PROJECTION_ERROR * max(camera.width, camera.height):
            self._skip("joints of a hand: not in the camera's frame")
            joints = np.full((21, 3), np.nan)
        box = clipped_box(keypoint_box(keypoints[valid]), camera)
        if box is None:
            self._skip("hand: outside of the image")
            return None
        return LabelledHand(box, side, keypoints, drop_unknown(joints))

    def __len__(self) -> int:
        return len(self._samples)

    def _sample_at(self, index: int) -> LabelledImage:
        return self._samples[index]
