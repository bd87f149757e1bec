"""ARCTIC (Fan et al., CVPR 2023), the egocentric view."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..geometry.camera import Camera
from ..io.safe_numpy import read_npy
from ..types import Side
from .base import FileNames, HandDataset, label_hand
from .joint_orders import MANO
from .labels import LabelledHand, LabelledImage, ManoLabel, Supervision

EGO_VIEW = 0
CROPPED_SCALE = 0.3
"""The egocentric view's ``cropped_images`` are whole images at this scale."""

_PER_HAND = {"joints": (21, 3), "orient": (3,), "pose": (45,), "shape": (10,), "valid": ()}


@dataclass(frozen=True)
class _Sequence:
    """Labels of one sequence's egocentric view, F frames."""

    k: np.ndarray
    """(F, 3, 3)"""
    distortion: np.ndarray
    """(F, 8) in OpenCV's order."""
    hands: dict[Side, dict[str, np.ndarray]]
    """(F, *shape) by the names of ``_PER_HAND``."""


class Arctic(HandDataset):
    """ARCTIC: two hands with articulated objects, egocentric view of a helmet camera with a distorting lens, with
    joints and MANO.

    The images are distorted, whereas ARCTIC's labels of view 0 belong to an undistorted camera. The camera of each
    image includes the lens, so that projected joints lie where the image shows them. With ``paper_labels``, all images
    have the first frame's pinhole, as in the paper's training, whose labels lie beside the hands towards the image's
    edges.

    MANO poses are relative to the mean pose; left betas belong to MANO's left shape directions as stored. A split file
    is read at once, which temporarily takes as much memory as the file's size.
    """

    NAME = "arctic"
    SPLITS = ("train", "val")
    SUPERVISION = frozenset(
        {Supervision.KEYPOINTS, Supervision.JOINTS, Supervision.POSE, Supervision.BETAS, Supervision.CAMERA}
    )
    LAYOUT = """
splits/p2_{split}.npy    labels of the egocentric protocol
meta/misc.json    image sizes and frame offsets
images/s01/box_grab_01/0/00010.jpg ...    2800 x 2000, or instead of them
cropped_images/s01/box_grab_01/0/00010.jpg ...    840 x 600
"""
    SOURCE = (
        "register at the project's page (arctic.is.tue.mpg.de) and run its scripts download_splits.sh, "
        "download_misc.sh and download_cropped_images.sh; the root is their arctic_data/data."
    )
    LICENSE = "MPI, non-commercial research, no redistribution."

    def _read_annotations(self) -> None:
        misc_path, split_path = self._find("meta/misc.json"), self._find(f"splits/p2_{self.split}.npy")
        images = self._find("images", "cropped_images")
        self._images, self._scale = images, 1.0 if images.name == "images" else CROPPED_SCALE
        with self._reading(misc_path):
            misc = json.loads(misc_path.read_text())
            self._sizes = {
                subject: tuple(int(side) for side in entry["image_size"][EGO_VIEW]) for subject, entry in misc.items()
            }
            offsets = {subject: int(entry["ioi_offset"]) for subject, entry in misc.items()}
        with self._reading(split_path):
            split = read_npy(split_path)
            # Copy the egocentric view only, so that the memory of the other views is freed.
            self._sequences = {name: _ego_view(split["data_dict"].pop(name)) for name in list(split["data_dict"])}
            self._index([PurePosixPath(name) for name in split["imgnames"]], offsets)
        if len(self):
            self._require_image(self._path(0))

    def _index(self, names: list[PurePosixPath], offsets: dict[str, int]) -> None:
        usable = {name: self._usable_frames(sequence) for name, sequence in self._sequences.items()}
        kept, frames = [], []
        for name in names:
            subject, sequence, view, image = name.parts[-4:]
            if int(view) != EGO_VIEW:
                self._skip("sample: not the egocentric view")
                continue
            frame = int(PurePosixPath(image).stem) - offsets[subject]
            frame_usable = usable.get(f"{subject}/{sequence}")
            if frame_usable is None or not 0 <= frame < len(frame_usable["camera"]):
                self._skip("sample: an image without labels")
            elif not frame_usable["camera"][frame]:
                self._skip("sample: camera that is not finite")
            elif not any(frame_usable[side][frame] for side in Side):
                self._skip("sample: no usable hand")
            else:
                kept.append("/".join((subject, sequence, view, image)))
                frames.append(frame)
        self._names, self._frames, self._usable = FileNames(kept), np.array(frames, np.int32), usable

    def _usable_frames(self, sequence: _Sequence) -> dict[Side | str, np.ndarray]:
        """(F,) bool for the camera and for each hand."""
        k = sequence.k
        finite = np.isfinite(k).all(axis=(1, 2)) & np.isfinite(sequence.distortion).all(axis=1)
        usable: dict[Side | str, np.ndarray] = {"camera": finite & (k[:, 0, 0] > 0) & (k[:, 1, 1] > 0)}
        for side, hand in sequence.hands.items():
            present = hand["valid"] > 0
            finite = np.logical_and.reduce(
                [np.isfinite(values.reshape(len(values), -1)).all(axis=1) for values in hand.values()]
            )
            self._skip("hand: labels that are not finite", np.count_nonzero(present & ~finite))
            usable[side] = present & finite
        return usable

    def _path(self, index: int) -> Path:
        return self._images / self._names[index]

    def __len__(self) -> int:
        return len(self._names)

    def _sample_at(self, index: int) -> LabelledImage:
        name, frame = self._names[index], self._frames[index]
        subject, sequence = name.split("/")[:2]
        labels, usable = self._sequences[f"{subject}/{sequence}"], self._usable[f"{subject}/{sequence}"]
        camera = self._camera(subject, labels, frame)
        hands = [_hand(camera, side, labels.hands[side], frame) for side in Side if usable[side][frame]]
        return self._sample(name, self._image_loader(self._path(index), camera), camera, hands)

    def _camera(self, subject: str, labels: _Sequence, frame: int) -> Camera:
        width, height = self._sizes[subject]
        if self.paper_labels:
            first = "/".join(self._names[0].split("/")[:2])
            camera = Camera(self._sequences[first].k[self._frames[0]], width, height)
        else:
            camera = Camera(labels.k[frame], width, height, "rational_polynomial", labels.distortion[frame])
        return camera if self._scale == 1 else camera.resized(int(width * self._scale), int(height * self._scale))


def _ego_view(data: dict[str, Any]) -> _Sequence:
    camera_frame, parameters = data["cam_coord"], data["params"]
    hands = {}
    for side in Side:
        letter = side.value[0]
        stored = {
            "joints": camera_frame[f"joints.{side.value}"][:, EGO_VIEW],
            "orient": camera_frame[f"rot_{letter}_cam"][:, EGO_VIEW],
            "pose": parameters[f"pose_{letter}"],
            "shape": parameters[f"shape_{letter}"],
            # A hand is only valid if the image is, as in ARCTIC's own evaluation.
            "valid": camera_frame[f"{side.value}_valid"][:, EGO_VIEW] * camera_frame["is_valid"][:, EGO_VIEW],
        }
        hands[side] = {key: np.array(stored[key], np.float32).reshape(-1, *shape) for key, shape in _PER_HAND.items()}
    k = np.array(parameters["K_ego"], np.float64).reshape(-1, 3, 3)
    distortion = np.array(parameters["dist"], np.float64).reshape(-1, 8)
    lengths = {len(k), len(distortion), *(len(values) for hand in hands.values() for values in hand.values())}
    if len(lengths) > 1:
        raise ValueError(f"the labels of one sequence have different numbers of frames: {sorted(lengths)}")
    return _Sequence(k, distortion, hands)


def _hand(camera: Camera, side: Side, hand: dict[str, np.ndarray], frame: int) -> LabelledHand | None:
    joints, orient, pose, betas = (hand[key][frame].astype(np.float64) for key in ("joints", "orient", "pose", "shape"))
    mano = ManoLabel(orient, pose, betas, pose_is_mean_relative=True, wrist_offset=joints[0])
    return label_hand(camera, side, joints[MANO], mano=mano)
