"""Trajectories as plain rows of numbers: TUM (time, position, quaternion) and KITTI (a 3x4 matrix per image)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ...geometry.trajectory import Trajectory
from ..errors import InputError


def read_tum(text: str) -> Trajectory:
    """Reads rows of ``timestamp tx ty tz qx qy qz qw``, in seconds and metres, separated by spaces or commas."""
    rows = _rows(text, 8, "TUM: timestamp tx ty tz qx qy qz qw")
    return Trajectory.of(rows[:, 0], rows[:, 1:4], rows[:, 4:])


def read_kitti(text: str) -> Trajectory:
    """Reads rows of 12 numbers, the 3x4 matrix from camera to world of one image after the other."""
    matrices = _rows(text, 12, "KITTI: the 12 numbers of a 3x4 matrix per image").reshape(-1, 3, 4)
    rotations = matrices[:, :, :3]
    if np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max(initial=0) > 0.01:
        raise InputError("a matrix is not a rotation with a translation; is this another format?")
    quaternions = Rotation.from_matrix(rotations).as_quat()
    return Trajectory.of(np.arange(len(matrices)), matrices[:, :, 3], quaternions, by_image=True)


def _rows(text: str, width: int, expected: str) -> np.ndarray:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        values = line.split("#")[0].replace(",", " ").split()
        if not values:
            continue
        if len(values) != width:
            raise InputError(f"line {number} has {len(values)} numbers instead of {width} ({expected})")
        rows.append([float(value) for value in values])
    return np.array(rows, np.float64).reshape(-1, width)
