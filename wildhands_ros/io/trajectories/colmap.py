"""Trajectories of COLMAP: ``images.txt`` or ``images.bin`` of a sparse model.

The number in the name of an image, such as 000123 in frame_000123.png, is its number in the recording. The scale of a
COLMAP model is arbitrary, so positions are metric only if the model was scaled.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ...geometry.trajectory import Trajectory
from ..errors import InputError

_IMAGE = struct.Struct("<i7di")
_NUM_POINTS = struct.Struct("<Q")
_POINT_SIZE = 24
_NUMBER = re.compile(r"(\d+)\D*$")


def read_colmap_text(text: str) -> Trajectory:
    """Reads images.txt: two lines per image, ``ID QW QX QY QZ TX TY TZ CAMERA NAME`` and the points."""
    # The line of points may be empty, so only comments are removed.
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    poses, names = [], []
    for line in lines[::2]:
        values = line.split(maxsplit=9)
        if not values:
            continue
        if len(values) < 10:
            raise InputError(f"an image has {len(values)} values instead of 10")
        poses.append([float(value) for value in values[1:8]])
        names.append(values[9])
    return _trajectory(poses, names)


def read_colmap_binary(data: bytes) -> Trajectory:
    """Reads images.bin."""
    (count,), place = _NUM_POINTS.unpack_from(data), _NUM_POINTS.size
    poses, names = [], []
    for _ in range(count):
        _, *pose, _ = _IMAGE.unpack_from(data, place)
        place += _IMAGE.size
        end = data.index(b"\0", place)
        names.append(data[place:end].decode())
        (points,) = _NUM_POINTS.unpack_from(data, end + 1)
        place = end + 1 + _NUM_POINTS.size + points * _POINT_SIZE
        poses.append(pose)
    return _trajectory(poses, names)


def _trajectory(poses: list[list[float]], names: list[str]) -> Trajectory:
    """Converts poses of the world in the camera (quaternion w, x, y, z, then translation) of named images."""
    values = np.array(poses, np.float64).reshape(-1, 7)
    inverse = Rotation.from_quat(values[:, [1, 2, 3, 0]]).inv()
    return Trajectory.of(
        np.array([_number(name) for name in names], np.float64),
        -inverse.apply(values[:, 4:]),
        inverse.as_quat(),
        by_image=True,
    )


def _number(name: str) -> int:
    found = _NUMBER.search(Path(name).stem)
    if found is None:
        raise InputError(f"the image {name} has no number in its name that says which image of the recording it is")
    return int(found.group(1))
