"""Trajectories as plain rows of numbers: TUM (time, position, quaternion) and KITTI (a 3x4 matrix per image)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ...geometry.trajectory import Trajectory
from ..errors import InputError

MOST_SECONDS = 1e11
"""Times beyond this, in the year 5138, are in milliseconds or nanoseconds."""


def read_tum(text: str) -> Trajectory:
    """Reads rows of ``timestamp tx ty tz qx qy qz qw``, in seconds and metres, separated by spaces or commas.

    Rows with NaN, which trackers write while they are lost, are left out: the pose is unknown then.
    """
    rows = _rows(text, 8, "TUM: timestamp tx ty tz qx qy qz qw")
    if (np.abs(rows[:, 0]) > MOST_SECONDS).any():
        raise InputError(
            f"the times, such as {rows[0, 0]:.0f}, are no seconds: TUM has seconds in its first column. A CSV table "
            "may have another unit and order of the columns, which its header must name (timestamp [ns], x, y, ...)"
        )
    rows = rows[~np.isnan(rows[:, 1:]).any(axis=1)]
    return Trajectory.of(rows[:, 0], rows[:, 1:4], rows[:, 4:])


def read_kitti(text: str) -> Trajectory:
    """Reads rows of 12 numbers, the 3x4 matrix from camera to world of one image after the other."""
    matrices = _rows(text, 12, "KITTI: the 12 numbers of a 3x4 matrix per image").reshape(-1, 3, 4)
    rotations = matrices[:, :, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max(initial=0)
        if not off <= 0.01 or not (np.linalg.det(rotations) > 0).all():
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
