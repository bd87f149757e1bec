"""FreiHAND (Zimmermann et al., ICCV 2019)."""

from __future__ import annotations

import numpy as np

from ..geometry.camera import Camera
from ..types import Side
from .base import DatasetError, HandDataset, label_hand
from .json_stream import walk_json
from .labels import LabelledImage, ManoLabel, Supervision

SIZE = 224
BACKGROUNDS = 4
"""Each training image exists with four backgrounds: of n labels, images i, i + n, i + 2 n and i + 3 n share label i."""


class FreiHand(HandDataset):
    """FreiHAND: single right hands on 224 x 224 images from third-person views, with joints and MANO; not egocentric.

    MANO poses are relative to the mean pose. The wrist joint is regressed from the posed mesh, so translations are only
    accurate to a millimetre or two.
    """

    NAME = "freihand"
    SPLITS = ("training", "evaluation")
    SUPERVISION = frozenset(
        {Supervision.KEYPOINTS, Supervision.JOINTS, Supervision.POSE, Supervision.BETAS, Supervision.CAMERA},
    )
    LAYOUT = """
{split}_K.json, {split}_xyz.json, {split}_mano.json    labels
{split}/rgb/00000000.jpg ...    images
"""
    SOURCE = (
        "FreiHAND_pub_v2.zip and, with the labels of the evaluation split, FreiHAND_pub_v2_eval.zip from "
        "the dataset's page at the "
        "Computer Vision Group of the University of Freiburg (lmb.informatik.uni-freiburg.de)."
    )
    LICENSE = "research only, no commercial use; cite the paper."

    def _read_annotations(self) -> None:
        k, joints, mano = (
            self._labels(kind, shape) for kind, shape in (("K", (3, 3)), ("xyz", (21, 3)), ("mano", (61,)))
        )
        if not len(k) == len(joints) == len(mano):
            counts = f"{len(k)} K, {len(joints)} xyz and {len(mano)} mano entries"
            raise DatasetError(
                f"{self.NAME}: the files {self.split}_*.json under {self.root} do not belong together: {counts}"
            )
        self._labels_count = len(k)
        usable = np.isfinite(joints).all(axis=(1, 2)) & (joints[..., 2] > 0).all(axis=1) & np.isfinite(mano).all(axis=1)
        usable &= np.isfinite(k).all(axis=(1, 2)) & (k[:, 0, 0] > 0) & (k[:, 1, 1] > 0)
        self._skip("sample: labels that are not finite, or behind the camera", np.count_nonzero(~usable))
        self._k, self._joints, self._mano, self._indices = k, joints, mano, np.flatnonzero(usable)
        if len(self):
            self._require_image(self.root / self._name(0))

    def _labels(self, kind: str, shape: tuple[int, ...]) -> np.ndarray:
        path = self._find(f"{self.split}_{kind}.json")
        with self._reading(path):
            rows = [np.array(value, np.float64).reshape(shape) for _, value in walk_json(path, 1)]
            return np.array(rows).reshape(-1, *shape)

    def __len__(self) -> int:
        return len(self._indices) * (BACKGROUNDS if self.split == "training" else 1)

    def _sample_at(self, index: int) -> LabelledImage:
        label = self._indices[index % len(self._indices)]
        camera = Camera(self._k[label], SIZE, SIZE)
        joints = self._joints[label]
        mano = ManoLabel(
            global_orient=self._mano[label, :3],
            hand_pose=self._mano[label, 3:48],
            betas=self._mano[label, 48:58],
            pose_is_mean_relative=True,
            wrist_offset=joints[0],
        )
        hand = label_hand(camera, Side.RIGHT, joints, mano=mano)
        name = self._name(index)
        return self._sample(name, self._image_loader(self.root / name, camera), camera, [hand])

    def _name(self, index: int) -> str:
        background, index = divmod(index, len(self._indices))
        return f"{self.split}/rgb/{self._indices[index] + background * self._labels_count:08d}.jpg"
