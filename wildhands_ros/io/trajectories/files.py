"""Reads the trajectory of a camera from a file in any of the supported formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...config import GRAPHICS, OPTICAL, POSE_AXES, POSE_FORMATS
from ...geometry.pose import Pose
from ...geometry.trajectory import Trajectory
from ..errors import InputError, foreign_bytes, reason
from .colmap import read_colmap_binary, read_colmap_text
from .rows import read_kitti, read_tum
from .tables import is_table, read_table

_READERS: dict[str, Callable[[str], Trajectory]] = dict(
    zip(POSE_FORMATS, (read_tum, read_kitti, read_table, read_colmap_text), strict=True)
)
_GRAPHICS_IN_OPTICAL = Pose(np.diag([1.0, -1.0, -1.0]), np.zeros(3))
_MOUNT_NUMBERS = 7


@dataclass(frozen=True)
class TrajectoryOptions:
    """How to read the poses of a camera."""

    format: str = ""
    """One of ``config.POSE_FORMATS``; empty to recognise it."""
    axes: str = OPTICAL
    """One of ``config.POSE_AXES``."""
    mount: tuple[float, ...] = ()
    """Position and quaternion x, y, z, w of the camera in the frame whose poses the file holds; empty if it holds those
    of the camera."""
    offset: float = 0.0
    """Seconds that are added to the times of the poses to get those of the images."""

    def applied(self, trajectory: Trajectory) -> Trajectory:
        """Returns the trajectory of the camera's optical frame in the clock of the images.

        Raises:
            InputError: ``mount`` or ``axes`` cannot be used.
        """
        if self.axes not in POSE_AXES:
            raise InputError(f"unknown axes {self.axes!r}; supported: {', '.join(POSE_AXES)}")
        if self.mount:
            if len(self.mount) != _MOUNT_NUMBERS:
                raise InputError(f"a mount has {_MOUNT_NUMBERS} numbers (x y z qx qy qz qw), not {len(self.mount)}")
            position, quaternion = np.array(self.mount[:3]), np.array(self.mount[3:])
            mount = Trajectory.of(np.zeros(1), position[None], quaternion[None])
            trajectory = trajectory.mounted(Pose(mount.rotations[0].as_matrix(), position))
        if self.axes == GRAPHICS:
            trajectory = trajectory.mounted(_GRAPHICS_IN_OPTICAL)
        return trajectory.shifted(self.offset) if self.offset and not trajectory.by_image else trajectory


def read_trajectory(path: Path, options: TrajectoryOptions) -> Trajectory:
    """Reads the trajectory of a camera.

    Args:
        path: A file in one of ``config.POSE_FORMATS``, or images.bin of COLMAP.
        options: How to read it.

    Raises:
        InputError: The file does not hold poses.
        OSError: The file cannot be read.
    """
    if options.format and options.format not in POSE_FORMATS:
        raise InputError(f"unknown format of poses {options.format!r}; supported: {', '.join(POSE_FORMATS)}")
    data = path.read_bytes()
    with foreign_bytes(path, "a trajectory (TUM, KITTI, COLMAP, or a CSV table with a header)"):
        try:
            return options.applied(_trajectory(path, data, options.format))
        except InputError as error:
            raise InputError(f"{path}: {reason(error)}") from error


def _trajectory(path: Path, data: bytes, chosen: str) -> Trajectory:
    if path.suffix == ".bin" and chosen in ("", "colmap"):
        return read_colmap_binary(data)
    text = data.decode("utf-8-sig")
    return _READERS[chosen or _recognised(path, text)](text)


def _recognised(path: Path, text: str) -> str:
    if is_table(text):
        return "table"
    rows = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    width = next((len(row) for row in rows if row), 0)
    if path.name == "images.txt" or width == 10:
        return "colmap"
    widths = {8: "tum", 12: "kitti"}
    if width not in widths:
        raise InputError(
            f"rows of {width} values are no known format of poses: TUM has 8 values per row, KITTI 12, and a CSV table "
            "a header with timestamp, x, y, z, qx, qy, qz, qw"
        )
    return widths[width]
