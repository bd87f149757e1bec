"""Ego4D (Grauman et al., CVPR 2022): the grasps and masks that WildHands is trained with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ..geometry.camera import Camera
from .base import HandDataset, load_dataset_image
from .wild import GraspedHands, MaskedHands, assumed_camera

_BOXES = {"train": "ego4d_hands/grasp_ego.pkl"}
_IMAGES = "...    images, at the paths in the labels, without leading folders of another machine"
_SOURCE = (
    "the preprocessed labels that the README of github.com/ap229997/hands links to (folder "
    "ego4d_hands); the images are frames of Ego4D's videos (ego4d-data.org)."
)
_LICENSE = "labels CC BY-NC 4.0; videos under Ego4D's licence agreement, to be signed; no redistribution."


class _Ego4DImages(HandDataset):
    """The images come from many cameras and have many sizes, so the paper computed KPE without intrinsics."""

    ENCODE_CAMERA = False

    def _open(self, path: Path) -> tuple[Camera, Callable[[], np.ndarray]]:
        # Only the image tells its size, so it is read here, once.
        image = load_dataset_image(path, None, self._origin)
        return assumed_camera(image.shape[1], image.shape[0]), partial(np.asarray, image)


class Ego4DGrasps(_Ego4DImages, GraspedHands):
    """Ego4D: grasps of both hands in everyday activities, egocentric; the camera is assumed (1000 px)."""

    NAME = "ego4d_grasps"
    SPLITS = ("train",)
    BOXES = _BOXES
    LAYOUT = f"{_BOXES['train']}    boxes and grasps\n{_IMAGES}"
    SOURCE = _SOURCE
    LICENSE = _LICENSE


class Ego4DMasks(_Ego4DImages, MaskedHands):
    """Ego4D: predicted masks of hands in everyday activities, egocentric; the camera is assumed (1000 px).

    There are no labels of which hands are covered, so all count. With ``paper_labels``, a mask only counts if the other
    hand has a box, too.
    """

    NAME = "ego4d_masks"
    SPLITS = ("train",)
    BOXES = _BOXES
    MASKS = "ego4d_hands/ego_blur_pred_masks.npz"
    LAYOUT = f"{_BOXES['train']}    boxes\n{MASKS}    masks\n{_IMAGES}"
    SOURCE = _SOURCE
    LICENSE = _LICENSE
