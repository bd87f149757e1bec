"""EPIC-KITCHENS: the grasps and masks on VISOR's frames that WildHands is trained with, and EPIC-HandKps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..geometry.camera import Camera
from ..io.safe_numpy import read_pickle
from ..types import Side
from .base import HandDataset, clipped_box, keypoint_box
from .joint_orders import TIPS_FIRST
from .labels import LabelledHand, LabelledImage
from .wild import VISIBLE, GraspedHands, ImageFolder, MaskedHands, assumed_camera

WIDTH, HEIGHT = 1920, 1080
MIN_JOINTS = 3
"""Least number of labelled joints of a hand in EPIC-HandKps."""

_LABELS = "the preprocessed labels that the README of github.com/ap229997/hands links to (folder epic_hands)"
_SOURCE = f"{_LABELS}; the images are VISOR's frames (epic-kitchens.github.io/VISOR)."
_IMAGES = "visor/...    images, at the paths in the labels, without leading folders of another machine"
_BOXES = {split: f"epic_hands/grasp_visor_{split}.pkl" for split in ("train", "val")}


class _EpicImages(HandDataset):
    """All images have the same size and the assumed camera."""

    def _open(self, path: Path) -> tuple[Camera, Callable[[], np.ndarray]]:
        camera = assumed_camera(WIDTH, HEIGHT)
        return camera, self._image_loader(path, camera)


class EpicGrasps(_EpicImages, GraspedHands):
    """EPIC-KITCHENS VISOR: grasps of both hands in kitchens, egocentric; the camera is assumed (1000 px at 1920)."""

    NAME = "epic_grasps"
    SPLITS = ("train", "val")
    BOXES = _BOXES
    LAYOUT = f"epic_hands/grasp_visor_{{split}}.pkl    boxes and grasps\n{_IMAGES}"
    SOURCE = _SOURCE
    LICENSE = "CC BY-NC 4.0 (labels and VISOR)."


class EpicMasks(_EpicImages, MaskedHands):
    """EPIC-KITCHENS VISOR: masks of uncovered hands in kitchens, egocentric; the camera is assumed (1000 px at 1920).

    With ``paper_labels``, a mask only counts if the other hand has a box, too.
    """

    NAME = "epic_masks"
    SPLITS = ("train",)
    BOXES = _BOXES
    MASKS = "epic_hands/visor_masks_train.npz"
    LAYOUT = f"""
epic_hands/grasp_visor_train.pkl    boxes
epic_hands/modal_amodal_annot.pkl    which hands are covered
{MASKS}    masks
{_IMAGES}
"""
    SOURCE = _SOURCE
    LICENSE = "CC BY-NC 4.0 (labels and VISOR)."

    def _read_labels(self) -> None:
        super()._read_labels()
        path = self._find("epic_hands/modal_amodal_annot.pkl")
        with self._reading(path):
            modal = {
                str(name): {side for side in Side if labels.get(side.value) == VISIBLE}
                for name, labels in read_pickle(path).items()
            }
        self._visible = modal
        hidden = sum(side not in modal.get(name, ()) for name, boxes in self._boxes.items() for side in boxes)
        self._skip("hand: covered, or not labelled as uncovered", hidden)

    def _is_visible(self, name: str, side: Side) -> bool:
        return side in self._visible.get(name, ())


class EpicPredictedMasks(EpicMasks):
    """EPIC-KITCHENS VISOR with masks predicted by a segmentation network in place of VISOR's; otherwise as
    ``epic_masks``."""

    NAME = "epic_predicted_masks"
    MASKS = "epic_hands/visor_pred_masks_train.npz"
    LAYOUT = EpicMasks.LAYOUT.replace(EpicMasks.MASKS, MASKS)


class EpicHandKps(_EpicImages):
    """EPIC-HandKps: 2D joints of hands in EPIC-KITCHENS, egocentric, for evaluation; the camera is assumed (1000 px at
    1920).

    Boxes are those of the joints, because the file's boxes include the whole arm. With ``paper_labels``, the hands are
    those that the Hands23 detector found, with its boxes, as in the paper's table.
    """

    NAME = "epic_handkps"
    SPLITS = ("test", "val")
    SUPERVISION = frozenset()
    LAYOUT = f"""
epic_hands/hands_5000.pkl    joints of the test split
epic_hands/hands_250.pkl    joints of the val split
epic_hands/grasp_visor_val.pkl    the detector's boxes, for paper_labels only
{_IMAGES}
"""
    SOURCE = _SOURCE
    LICENSE = "CC BY-NC 4.0 (labels and VISOR)."

    def _read_annotations(self) -> None:
        self._camera = assumed_camera(WIDTH, HEIGHT)
        path = self._find("epic_hands/hands_5000.pkl" if self.split == "test" else "epic_hands/hands_250.pkl")
        with self._reading(path):
            entries = read_pickle(path)
            boxes = self._detected() if self.paper_labels else None
            hands = {
                str(name): self._read_hands(entry, None if boxes is None else boxes.get(name, {}))
                for name, entry in entries.items()
            }
        self._hands = [(name, labels) for name, labels in hands.items() if labels]
        self._skip("sample: no usable hand", len(hands) - len(self._hands))
        self._images = ImageFolder(self, (name for name, _ in self._hands))

    def _detected(self) -> dict[str, dict[str, Any]]:
        path = self._find(_BOXES["val"])
        with self._reading(path):
            return read_pickle(path)

    def _read_hands(self, entry: dict[str, Any], detected: dict[str, Any] | None) -> list[LabelledHand]:
        hands = []
        for side in Side:
            if side.value not in entry:
                continue
            keypoints = np.array(entry[side.value]["joints"], np.float64).reshape(21, 2)[TIPS_FIRST]
            valid = np.array(entry[side.value]["joints_valid"]).reshape(21)[TIPS_FIRST] > 0
            if not np.isfinite(keypoints[valid]).all():
                self._skip("hand: joints that are not finite")
                continue
            if valid.sum() < MIN_JOINTS:
                self._skip("hand: fewer than three labelled joints")
                continue
            box = keypoint_box(keypoints[valid]) if detected is None else detected.get(f"{side.value}_bbox")
            box = clipped_box(box, self._camera)
            if box is None:
                self._skip("hand: outside of the image" if detected is None else "hand: the detector did not find it")
                continue
            hands.append(LabelledHand(box, side, np.where(valid[:, None], keypoints, np.nan)))
        return hands

    def __len__(self) -> int:
        return len(self._hands)

    def _sample_at(self, index: int) -> LabelledImage:
        name, hands = self._hands[index]
        camera, load = self._open(self._images[name])
        return self._sample(name, load, camera, hands, camera_is_known=False)
