"""Trajectories as CSV tables with a header: Project Aria, HOT3D, EuRoC, TUM VI, Stray Scanner (ARKit), similar ones.

The columns are recognised by their names, in any order; others are ignored.
"""

from __future__ import annotations

import csv
import re
from io import StringIO

import numpy as np

from ...geometry.trajectory import Trajectory
from ..errors import InputError

_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME = re.compile(r"^(?:tracking_|ar_)?(?:timestamp|time|stamp|t)(?:[_\[(](ns|us|ms|s)[\])]?)?$")
_POSITION = (
    "^(?:t_?{0}(?:_world_device|_odometry_device)?|{0}|t_wo_{0}|ar_translation_{0}|pos_{0}|p_rs_r_{0})(?:\\[m\\])?$"
)
_ROTATION = "^(?:q_?{0}(?:_world_device|_odometry_device)?|q_wo_{0}|ar_quaternion_{0}|quat_{0}|q_rs_{0})(?:\\[\\])?$"
_EPOCH = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Times since 1970 beyond the first number have the second number of seconds as their unit."""


def is_table(text: str) -> bool:
    """Returns whether a text begins with a header that names the columns of poses."""
    header = text.lstrip("\ufeff# ").partition("\n")[0]
    return "," in header and _columns(_names(header)) is not None


def read_table(text: str) -> Trajectory:
    """Reads a table with the columns of time, position and quaternion.

    Rows with NaN are left out: the tracker was lost, and the pose is unknown then.
    """
    header, _, body = text.lstrip("\ufeff# ").partition("\n")
    columns = _columns(_names(header))
    if columns is None:
        raise InputError("the first line must name the columns timestamp, x, y, z, qx, qy, qz and qw, with commas")
    places, unit = columns
    rows = [row for row in csv.reader(StringIO(body)) if row and not row[0].startswith("#")]
    values = np.array([[float(row[place]) for place in places] for row in rows], np.float64).reshape(-1, 8)
    values = values[~np.isnan(values[:, 1:]).any(axis=1)]
    seconds = _SECONDS[unit] if unit else _unnamed_unit(values[:, 0])
    return Trajectory.of(seconds * values[:, 0], values[:, 1:4], values[:, 4:])


def _unnamed_unit(times: np.ndarray) -> float:
    """Returns the seconds of the unit of times that have none in the header, such as those of EuRoC."""
    largest = np.abs(times).max(initial=0)
    return next((seconds for least, seconds in _EPOCH if largest > least), 1.0)


def _names(header: str) -> list[str]:
    return ["".join(name.split()).lower() for name in header.split(",")]


def _columns(names: list[str]) -> tuple[list[int], str] | None:
    """Returns the places of time, x, y, z, qx, qy, qz and qw, and the unit of time, empty if it is not named."""
    times = [(place, match) for place, name in enumerate(names) if (match := _TIME.match(name))]
    patterns = [*(_POSITION.format(axis) for axis in "xyz"), *(_ROTATION.format(axis) for axis in "xyzw")]
    places = [next((i for i, name in enumerate(names) if re.match(pattern, name)), None) for pattern in patterns]
    found = [place for place in places if place is not None]
    if not times or len(found) < len(patterns):
        return None
    place, time = times[0]
    return [place, *found], time.group(1) or ""
