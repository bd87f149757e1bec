"""Reads and writes the poses of several cameras in a common frame.

The files are YAML::

    frame: world
    cameras:
      left: {position: [0.0, 0.0, 1.0], orientation: [0.0, 0.0, 0.0, 1.0]}

Positions are in metres, orientations are quaternions x, y, z, w of the cameras' optical frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from ..geometry.pose import Pose
from .errors import InputError, foreign_bytes
from .files import OutputFile
from .yaml_files import YamlFileError, load_yaml


@dataclass(frozen=True)
class Extrinsics:
    """Poses of cameras in a common frame."""

    frame: str
    poses: Mapping[str, Pose]
    """Pose of each camera's optical frame, by the name of the camera."""


def load_extrinsics(path: str | Path) -> Extrinsics:
    """Reads a file of extrinsics.

    Raises:
        InputError: The file is missing, or it is not a file of extrinsics; the message says why.
    """
    try:
        content = load_yaml(path)
    except (YamlFileError, OSError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("cameras"), dict):
        raise InputError(f"{path}: a file of extrinsics has the keys frame and cameras (docs/fusion.md)")
    frame = content.get("frame")
    with foreign_bytes(path, "a file of extrinsics"):
        if not isinstance(frame, str) or not frame:
            raise InputError(f"{path}: frame must be the name of the common frame, not {str(frame)[:80]!r}")
        return Extrinsics(frame, {str(name): _pose(path, name, value) for name, value in content["cameras"].items()})


def save_extrinsics(path: str | Path, extrinsics: Extrinsics) -> None:
    """Writes a file of extrinsics.

    Raises:
        OSError: The file cannot be written; an earlier one stays.
    """
    cameras = {
        name: {
            "position": [round(float(value), 6) for value in pose.position],
            "orientation": [round(float(value), 8) for value in Rotation.from_matrix(pose.rotation).as_quat()],
        }
        for name, pose in extrinsics.poses.items()
    }
    with OutputFile(Path(path)) as partial:
        partial.write_text(yaml.safe_dump({"frame": extrinsics.frame, "cameras": cameras}, sort_keys=False))


def _pose(path: str | Path, name: object, value: object) -> Pose:
    expected = (
        f"{path}: camera {str(name)[:80]!r} needs a position of three numbers and an orientation of four (x, y, z, w)"
    )
    if not isinstance(value, dict):
        raise InputError(expected)
    try:
        position = np.array(value["position"], dtype=np.float64)
        quaternion = np.array(value["orientation"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(expected) from error
    if position.shape != (3,) or quaternion.shape != (4,) or not np.isfinite([*position, *quaternion]).all():
        raise InputError(expected)
    if not 0.5 < np.linalg.norm(quaternion) < 2:
        raise InputError(f"{path}: the orientation of camera {str(name)[:80]!r} is no quaternion: its norm is not 1")
    return Pose(Rotation.from_quat(quaternion).as_matrix(), position)
