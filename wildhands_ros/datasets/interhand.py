"""InterHand2.6M v1.0 (Moon et al., ECCV 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.camera import Camera
from ..types import Side
from .base import FileNames, HandDataset, label_hand
from .joint_orders import TIPS_FIRST
from .json_stream import walk_json
from .labels import LabelledImage, ManoLabel, Supervision

_WRIST = 20
_CAMERA = {"campos": (3,), "camrot": (3, 3), "focal": (2,), "princpt": (2,)}


class InterHand(HandDataset):
    """InterHand2.6M v1.0: one or two bare, interacting hands in a studio, many fixed cameras, with joints and fitted
    MANO; not egocentric.

    Hands whose wrist is not labelled are left out, as by its authors. The MANO labels (NeuralAnnot, about 5 mm off the
    joints, and missing for some frames) are relative to the mean pose and belong to corrected left shape directions.
    """

    NAME = "interhand"
    SPLITS = ("train", "val", "test")
    SUPERVISION = frozenset(
        {Supervision.KEYPOINTS, Supervision.JOINTS, Supervision.POSE, Supervision.BETAS, Supervision.CAMERA}
    )
    LAYOUT = """
annotations/{split}/InterHand2.6M_{split}_data.json
annotations/{split}/InterHand2.6M_{split}_camera.json
annotations/{split}/InterHand2.6M_{split}_joint_3d.json
annotations/{split}/InterHand2.6M_{split}_MANO_NeuralAnnot.json
images/{split}/Capture0/...    as the file names in data say
"""
    SOURCE = "the 5 fps or 30 fps version v1.0 from the project's page (mks0601.github.io/InterHand2.6M)."
    LICENSE = "CC BY-NC 4.0."

    def _read_annotations(self) -> None:
        self._read_cameras()
        world = self._read_joints()
        self._read_mano(world)
        path = self._annotations("data")
        with self._reading(path):
            images = {image["id"]: _image_row(image) for (kind, _), image in walk_json(path, 2) if kind == "images"}
            names, sizes, rows, valid = [], [], [], []
            for (kind, _), annotation in walk_json(path, 2):
                if kind != "annotations":
                    continue
                name, size, capture, camera, frame = images[annotation["image_id"]]
                if (capture, camera) not in self._cameras:
                    self._skip("sample: no camera of this name, or a camera that is not finite")
                elif (capture, frame) not in world:
                    self._skip("sample: no joints of this frame")
                else:
                    names.append(name)
                    sizes.append(size)
                    rows.append((self._cameras[capture, camera], world[capture, frame]))
                    valid.append(np.array(annotation["joint_valid"]).reshape(2, 21) > 0)
            self._store(names, sizes, rows, valid)
        if len(self):
            self._require_image(self._path(0))

    def _store(self, names, sizes, rows, valid) -> None:
        valid, rows = np.array(valid, bool).reshape(-1, 2, 21), np.array(rows, np.int32).reshape(-1, 2)
        present = valid[..., _WRIST]
        self._skip("hand: the wrist is not labelled", np.count_nonzero(valid.any(axis=2) & ~present))
        finite = (np.isfinite(self._world[rows[:, 1]]).all(axis=3) | ~valid).all(axis=2)
        self._skip("hand: joints that are not finite", np.count_nonzero(present & ~finite))
        usable = present & finite
        kept = np.flatnonzero(usable.any(axis=1))
        self._skip("sample: no usable hand", len(usable) - len(kept))
        self._names = FileNames([names[i] for i in kept])
        self._sizes, self._rows = np.array(sizes, np.int32).reshape(-1, 2)[kept], rows[kept]
        self._valid, self._usable = valid[kept], usable[kept]

    def _annotations(self, kind: str) -> Path:
        return self._find(f"annotations/{self.split}/InterHand2.6M_{self.split}_{kind}.json")

    def _read_cameras(self) -> None:
        """Fill ``_cameras``: rows in ``_camera_values`` by capture and camera."""
        path = self._annotations("camera")
        with self._reading(path):
            entries: dict[tuple[str, str], dict[str, np.ndarray]] = {}
            for (capture, kind, camera), value in walk_json(path, 3):
                if kind in _CAMERA:
                    entries.setdefault((str(capture), str(camera)), {})[str(kind)] = np.array(
                        value, np.float64
                    ).reshape(_CAMERA[kind])
            usable = {
                key: entry
                for key, entry in entries.items()
                if entry.keys() == _CAMERA.keys()
                and all(np.isfinite(v).all() for v in entry.values())
                and (entry["focal"] > 0).all()
            }
        self._cameras = {key: row for row, key in enumerate(usable)}
        self._camera_values = {kind: np.array([entry[kind] for entry in usable.values()]) for kind in _CAMERA}

    def _read_joints(self) -> dict[tuple[str, str], int]:
        """Fill ``_world``, (F, 2, 21, 3) millimetres; returns its rows by capture and frame."""
        path = self._annotations("joint_3d")
        rows: dict[tuple[str, str], int] = {}
        values: list[np.ndarray] = []
        with self._reading(path):
            for (capture, frame), value in walk_json(path, 2):
                rows[str(capture), str(frame)] = len(values)
                values.append(np.array(value["world_coord"], np.float32).reshape(2, 21, 3))
        self._world = np.array(values, np.float32).reshape(-1, 2, 21, 3)
        return rows

    def _read_mano(self, world: dict[tuple[str, str], int]) -> None:
        """Fill ``_mano_values``, (N, 61) pose, shape and translation, and ``_mano``: its rows by row in ``_world`` and
        side."""
        path = self._annotations("MANO_NeuralAnnot")
        self._mano: dict[tuple[int, str], int] = {}
        values: list[np.ndarray] = []
        with self._reading(path):
            for (capture, frame, side), value in walk_json(path, 3):
                if value is None or (str(capture), str(frame)) not in world:
                    continue
                parts = [
                    np.array(value[key], np.float32).reshape(size)
                    for key, size in (("pose", 48), ("shape", 10), ("trans", 3))
                ]
                row = np.concatenate(parts)
                if np.isfinite(row).all():
                    self._mano[world[str(capture), str(frame)], str(side)] = len(values)
                    values.append(row)
                else:
                    self._skip("MANO of a hand in a frame: not finite")
        self._mano_values = np.array(values, np.float32).reshape(-1, 61)

    def __len__(self) -> int:
        return len(self._names)

    def _sample_at(self, index: int) -> LabelledImage:
        name = self._names[index]
        camera_row, frame_row = self._rows[index]
        position, rotation, focal, centre = (self._camera_values[kind][camera_row] for kind in _CAMERA)
        camera = Camera.pinhole(*focal, *centre, *map(int, self._sizes[index]))
        hands = []
        for number, side in enumerate(Side):
            if self._usable[index, number]:
                joints = (self._world[frame_row, number] - position) @ rotation.T / 1000
                valid = self._valid[index, number]
                mano = self._mano_label(frame_row, side, position, rotation)
                hands.append(label_hand(camera, side, joints[TIPS_FIRST], valid[TIPS_FIRST], mano=mano))
        return self._sample(name, self._image_loader(self._path(index), camera), camera, hands)

    def _path(self, index: int) -> Path:
        return self.root / "images" / self.split / self._names[index]

    def _mano_label(self, frame_row: int, side: Side, position: np.ndarray, rotation: np.ndarray) -> ManoLabel | None:
        row = self._mano.get((int(frame_row), side.value))
        if row is None:
            return None
        values = self._mano_values[row].astype(np.float64)
        return ManoLabel(
            global_orient=(Rotation.from_matrix(rotation) * Rotation.from_rotvec(values[:3])).as_rotvec(),
            hand_pose=values[3:48],
            betas=values[48:58],
            pose_is_mean_relative=True,
            wrist_offset=rotation @ (values[58:61] - position / 1000),
            wrist_rotation=rotation,
            negate_left_shapedirs_x=True,
        )


def _image_row(image: dict[str, Any]) -> tuple[str, tuple[int, int], str, str, str]:
    """The part of an image's entry that is needed, as there are more than a million entries."""
    return (
        image["file_name"],
        (image["width"], image["height"]),
        str(image["capture"]),
        str(image["camera"]),
        str(image["frame_idx"]),
    )
