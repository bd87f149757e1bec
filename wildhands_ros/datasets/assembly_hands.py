"""AssemblyHands (Ohkawa et al., CVPR 2023), the egocentric views."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..geometry.camera import Camera
from ..types import Side
from .base import FileNames, HandDataset, label_hand
from .joint_orders import TIPS_FIRST
from .json_stream import walk_json
from .labels import LabelledImage, Supervision

_NO_BOX = (np.nan,) * 4


class AssemblyHands(HandDataset):
    """AssemblyHands v1.1: two hands assembling toys, seen by four rectified grey-scale cameras of a headset, with
    joints."""

    NAME = "assembly_hands"
    SPLITS = ("train", "val", "test")
    SUPERVISION = frozenset({Supervision.KEYPOINTS, Supervision.JOINTS})
    LAYOUT = """
annotations/{split}/assemblyhands_{split}_ego_data_v1-1.json
annotations/{split}/assemblyhands_{split}_ego_calib_v1-1.json
annotations/{split}/assemblyhands_{split}_joint_3d_v1-1.json
images/ego_images_rectified/{split}/...    as the file names in ego_data say
"""
    SOURCE = (
        "the links for ego_images and annotations in the README of github.com/facebookresearch/assemblyhands-toolkit."
    )
    LICENSE = "CC BY-NC 4.0."

    def _read_annotations(self) -> None:
        intrinsics, extrinsics = self._read_cameras()
        world = self._read_joints()
        path = self._annotations("ego_data")
        with self._reading(path):
            images = {image["id"]: image for (kind, _), image in walk_json(path, 2) if kind == "images"}
            names, sizes, cameras, poses, joints, valid, boxes = [], [], [], [], [], [], []
            for (kind, _), hand in walk_json(path, 2):
                if kind != "annotations":
                    continue
                image = images[hand["image_id"]]
                frame = str(image["seq_name"]), f"{int(image['frame_idx']):06d}"
                camera = image["camera"] + "_mono10bit"
                camera_pose = extrinsics.get((*frame, camera))
                if (frame[0], camera) not in intrinsics or camera_pose is None:
                    self._skip("sample: no camera of this name in the calibration, or a camera that is not finite")
                elif frame not in world:
                    self._skip("sample: no joints of this frame")
                else:
                    names.append(image["file_name"])
                    sizes.append((image["width"], image["height"]))
                    cameras.append(intrinsics[frame[0], camera])
                    poses.append(camera_pose)
                    joints.append(world[frame])
                    valid.append(np.array(hand["joint_valid"]).reshape(2, 21) > 0)
                    boxes.append([hand["bbox"][side.value] or _NO_BOX for side in Side])
            self._store(names, sizes, cameras, poses, joints, valid, boxes)
        if len(self):
            self._require_image(self.root / "images" / self._names[0])

    def _store(self, names, sizes, cameras, poses, joints, valid, boxes) -> None:
        joints, valid = np.array(joints, np.float32).reshape(-1, 2, 21, 3), np.array(valid, bool).reshape(-1, 2, 21)
        boxes = np.array(boxes, np.float32).reshape(-1, 2, 4)
        present = np.isfinite(boxes).all(axis=2) & valid.any(axis=2)
        finite = (np.isfinite(joints).all(axis=3) | ~valid).all(axis=2)
        self._skip("hand: joints that are not finite", np.count_nonzero(present & ~finite))
        usable = present & finite
        kept = np.flatnonzero(usable.any(axis=1))
        self._skip("sample: no usable hand", len(usable) - len(kept))
        self._names = FileNames([names[i] for i in kept])
        self._sizes, self._k = (
            np.array(sizes, np.int32).reshape(-1, 2)[kept],
            np.array(cameras, np.float64).reshape(-1, 3, 3)[kept],
        )
        self._poses = np.array(poses, np.float64).reshape(-1, 3, 4)[kept]
        self._joints, self._valid, self._boxes, self._usable = joints[kept], valid[kept], boxes[kept], usable[kept]

    def _annotations(self, kind: str) -> Path:
        return self._find(f"annotations/{self.split}/assemblyhands_{self.split}_{kind}_v1-1.json")

    def _read_cameras(self) -> tuple[dict[tuple[str, str], np.ndarray], dict[tuple[str, str, str], np.ndarray]]:
        """(3, 3) intrinsics by sequence and camera, and (3, 4) poses from the world in millimetres by sequence, frame
        and camera."""
        intrinsics: dict[tuple[str, str], np.ndarray] = {}
        extrinsics: dict[tuple[str, str, str], np.ndarray] = {}
        path = self._annotations("ego_calib")
        with self._reading(path):
            for keys, value in walk_json(path, 4):
                _, sequence, kind, key = map(str, keys)
                if kind == "intrinsics":
                    k = np.array(value, np.float64).reshape(3, 3)
                    if np.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0:
                        intrinsics[sequence, key] = k
                elif kind == "extrinsics":
                    poses = {camera: np.array(pose, np.float64).reshape(3, 4) for camera, pose in value.items()}
                    extrinsics.update(
                        {(sequence, key, camera): pose for camera, pose in poses.items() if np.isfinite(pose).all()}
                    )
        return intrinsics, extrinsics

    def _read_joints(self) -> dict[tuple[str, str], np.ndarray]:
        """(42, 3) millimetres in the world frame by sequence and frame: the right hand, then the left."""
        path = self._annotations("joint_3d")
        with self._reading(path):
            return {
                (str(keys[1]), str(keys[2])): np.array(value["world_coord"], np.float32).reshape(42, 3)
                for keys, value in walk_json(path, 3)
                if keys[0] == "annotations"
            }

    def _size(self, index: int) -> tuple[int, int]:
        """The image's width and height."""
        width, height = self._sizes[index].tolist()
        return width, height

    def __len__(self) -> int:
        return len(self._names)

    def _sample_at(self, index: int) -> LabelledImage:
        name = self._names[index]
        camera = Camera(self._k[index], *self._size(index))
        rotation, translation = self._poses[index][:, :3], self._poses[index][:, 3]
        hands = []
        for number, side in enumerate(Side):
            if self._usable[index, number]:
                joints = (self._joints[index, number] @ rotation.T + translation) / 1000
                valid = self._valid[index, number]
                box = self._boxes[index, number]
                hands.append(label_hand(camera, side, joints[TIPS_FIRST], valid[TIPS_FIRST], box=box))
        image = self.root / "images" / name
        return self._sample(name, self._image_loader(image, camera), camera, hands)
