"""H2O (Kwon et al., ICCV 2021), the egocentric view."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from ..geometry.camera import Camera
from ..types import Side
from .base import FileNames, HandDataset, label_hand
from .labels import LabelledHand, LabelledImage, ManoLabel

_SIDES = (Side.LEFT, Side.RIGHT)
"""The order in the files."""
_JOINTS, _MANO = 64, 62
"""Numbers per hand: a flag whether it is annotated, then 21 x 3 joints; or the flag, translation 3, pose 48, betas
10."""


class H2O(HandDataset):
    """H2O: two hands manipulating objects, egocentric RGB-D camera, with joints and MANO (flat mean), for evaluation.

    Frames without a MANO file have no MANO labels. It is not documented which left shape directions the betas belong
    to; MANO's as stored are assumed.
    """

    NAME = "h2o"
    SPLITS = ("train", "val", "test")
    SUPERVISION = frozenset()
    LAYOUT = """
pose_{split}.txt (or label_split/pose_{split}.txt)    paths of the split's images
subject1/h1/0/cam4/cam_intrinsics.txt
subject1/h1/0/cam4/rgb/000000.png
subject1/h1/0/cam4/hand_pose/000000.txt
subject1/h1/0/cam4/hand_pose_mano/000000.txt
"""
    SOURCE = (
        "register at the dataset's page (h2odataset.ethz.ch) and run its download_script.py in mode ego; "
        "pose_{split}.txt are in "
        "pose_lists of github.com/taeinkwon/h2odataset. No joints of the test split are published."
    )
    LICENSE = "terms of ETH Zurich's registration form, non-commercial research."

    def _read_annotations(self) -> None:
        path = self._find(f"pose_{self.split}.txt", f"label_split/pose_{self.split}.txt")
        with self._reading(path):
            # Lists from other machines start with their folders; only subject/setting/take/camera/rgb/image is used.
            listed = [
                PurePosixPath(*PurePosixPath(line.strip()).parts[-6:])
                for line in path.read_text().splitlines()
                if line.strip()
            ]
        self._cameras: dict[str, Camera] = {}
        names, joints, mano = [], [], []
        for image in listed:
            take = str(image.parent.parent)
            if take not in self._cameras:
                self._cameras[take] = self._read_camera(take)
            row = self._read_joints(take, image.stem)
            if row is not None:
                names.append(str(image))
                joints.append(row)
                mano.append(self._read_mano(take, image.stem))
        self._names, self._joints, self._mano = (
            FileNames(names),
            np.array(joints, np.float32),
            np.array(mano, np.float32),
        )
        if len(self):
            self._require_image(self.root / self._names[0])

    def _read_camera(self, take: str) -> Camera:
        path = self._find(f"{take}/cam_intrinsics.txt")
        with self._reading(path):
            fx, fy, cx, cy, width, height = _numbers(path, 6)
            return Camera.pinhole(fx, fy, cx, cy, int(width), int(height))

    def _read_joints(self, take: str, frame: str) -> np.ndarray | None:
        """(2, 21, 3) joints, NaN for a hand that cannot be used; None if neither can."""
        path = self._find(f"{take}/hand_pose/{frame}.txt")
        with self._reading(path):
            values = _numbers(path, 2 * _JOINTS).reshape(2, _JOINTS)
        annotated = values[:, 0] == 1
        joints = values[:, 1:].reshape(2, 21, 3)
        # Comparisons with a z that is NaN are false, too.
        usable = annotated & np.isfinite(joints).all(axis=(1, 2)) & (joints[..., 2] > 0).all(axis=1)
        self._skip("hand: joints that are not finite, or behind the camera", np.count_nonzero(annotated & ~usable))
        if not usable.any():
            self._skip("sample: no usable hand")
            return None
        return np.where(usable[:, None, None], joints, np.nan)

    def _read_mano(self, take: str, frame: str) -> np.ndarray:
        """(2, 61) MANO parameters, NaN if missing."""
        paths = (self.root / take / folder / f"{frame}.txt" for folder in ("hand_pose_mano", "hand_pose_MANO"))
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            self._skip("MANO of a sample: no file")
            return np.full((2, _MANO - 1), np.nan)
        with self._reading(path):
            values = _numbers(path, 2 * _MANO).reshape(2, _MANO)
        usable = (values[:, 0] == 1) & np.isfinite(values).all(axis=1)
        self._skip("MANO of a hand: not finite", np.count_nonzero((values[:, 0] == 1) & ~usable))
        return np.where(usable[:, None], values[:, 1:], np.nan)

    def __len__(self) -> int:
        return len(self._names)

    def _sample_at(self, index: int) -> LabelledImage:
        name = self._names[index]
        camera = self._cameras[str(PurePosixPath(name).parent.parent)]
        hands = [self._hand(camera, index, row) for row in range(len(_SIDES))]
        return self._sample(name, self._image_loader(self.root / name, camera), camera, hands)

    def _hand(self, camera: Camera, index: int, row: int) -> LabelledHand | None:
        joints = self._joints[index, row].astype(np.float64)
        if np.isnan(joints[0, 0]):
            return None
        values, mano = self._mano[index, row].astype(np.float64), None
        if np.isfinite(values).all():
            mano = ManoLabel(
                global_orient=values[3:6],
                hand_pose=values[6:51],
                betas=values[51:],
                pose_is_mean_relative=False,
                # The stored translation is MANO's own: the wrist lies at J0 + translation.
                wrist_rotation=np.eye(3),
                wrist_offset=values[:3],
            )
        return label_hand(camera, _SIDES[row], joints, mano=mano)


def _numbers(path: Path, count: int) -> np.ndarray:
    values = np.array(path.read_text().split(), np.float64)
    if len(values) != count:
        raise ValueError(f"{len(values)} numbers instead of {count}")
    return values
