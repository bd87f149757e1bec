"""A human hand's joints to a robot hand's, through dex-retargeting, for any URDF.

A configuration is dex-retargeting's own YAML (its published ones for known hands work) with two keys of ours beside ``retargeting``:
``root_rotation``, roll, pitch and yaw that turn the palm's frame (x out of the palm, z along the fingers) into the URDF's root frame, and
``lengths_only``, with which a ``vector`` configuration follows how long the human's vectors are and not where they point: for grippers.
``urdf_path`` counts from the file's folder.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from ..types import Side

PALM_AXES = {
    Side.RIGHT: np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]]),
    Side.LEFT: np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]),
}
"""From the hand model's rest frame to the palm's: x out of the palm, y (right hand: to the thumb; left: away from it), z to the fingers."""

TOUCH = 0.015
"""Metres between the joints at the tips of two fingers that touch."""

ROBOTS = Path(__file__).parent / "robots"
"""Two robot hands to try with: gripper.yaml and five_finger_hand.yaml."""


class RobotHandError(ValueError):
    """The configuration or its URDF cannot be used; the message says why."""


class Retargeting:
    """Joint positions of one robot hand for one human hand after another. Each result is where the next one starts."""

    def __init__(self, config: Path, side: Side):
        """Reads the configuration and the URDF that it names.

        :raises RobotHandError: the file, the URDF or what it says of the robot cannot be used.
        :raises ImportError: dex-retargeting is not installed.
        """
        try:
            from dex_retargeting.retargeting_config import RetargetingConfig
        except ImportError as error:
            raise ImportError(
                f"retargeting needs dex-retargeting (pip install 'wildhands_ros[teleop]'): {error}"
            ) from error
        own, theirs = _read(config)
        try:
            rotation = Rotation.from_euler(
                "xyz", np.asarray(own.get("root_rotation", (0.0, 0.0, 0.0)), float)
            ).as_matrix()
            with redirect_stdout(StringIO()):
                self._solver = RetargetingConfig.from_dict(theirs).build()
        except Exception as error:  # URDF parser, pinocchio and dex-retargeting raise all kinds
            raise RobotHandError(f"{config}: {' '.join(str(error).split()) or type(error).__name__}") from error
        self._rotation = rotation @ PALM_AXES[side]
        self._optimizer = self._solver.optimizer
        model = self._optimizer.robot.model
        self.lower, self.upper = model.lowerPositionLimit, model.upperPositionLimit
        """The URDF's limits of ``joint_names``."""
        self.joint_names: list[str] = list(self._solver.joint_names)
        """The URDF's names of the joints that move, in the order of the results."""
        if (
            not self.joint_names
            or not (np.isfinite(self.lower) & np.isfinite(self.upper) & (self.lower <= self.upper)).all()
        ):
            raise RobotHandError(f"{config}: every moving joint of the URDF needs a lower and an upper limit")
        kind = self._optimizer.retargeting_type
        self._is_position = kind == "POSITION"
        self._directions = self._open_directions() if own.get("lengths_only") else None
        if self._directions is not None and kind != "VECTOR":
            raise RobotHandError(f"{config}: lengths_only is for retargeting of type vector, not {kind.lower()}")

    def __call__(self, joints: np.ndarray) -> np.ndarray:
        """Positions (radians or metres) of ``joint_names``, within the URDF's limits.

        Args:
            joints: (21, 3) metres, MediaPipe order, in the hand model's rest frame with the wrist at the origin; finite.
        """
        points = joints @ self._rotation.T
        indices = self._optimizer.target_link_human_indices
        reference = points[indices] if self._is_position else points[indices[1]] - points[indices[0]]
        if self._directions is not None:
            lengths = np.maximum(np.linalg.norm(reference, axis=1) - TOUCH, 0)
            reference = self._directions * lengths[:, None]
        with redirect_stdout(StringIO()):
            positions = self._solver.retarget(reference)
        # The solver's bounds are a milliradian wider than the URDF's.
        return np.clip(positions, self.lower, self.upper)

    def tip_distance(self, positions: np.ndarray, first: str, second: str) -> float:
        """Metres between the origins of two links at these joint positions."""
        robot = self._optimizer.robot
        robot.compute_forward_kinematics(np.asarray(positions, float))
        a, b = (robot.get_link_pose(robot.get_link_index(name))[:3, 3] for name in (first, second))
        return float(np.linalg.norm(a - b))

    def _open_directions(self) -> np.ndarray:
        """Unit vectors of the robot's own links with every joint in the middle."""
        robot, optimizer = self._optimizer.robot, self._optimizer
        robot.compute_forward_kinematics((self.lower + self.upper) / 2)
        ends = [[robot.get_link_pose(robot.get_link_index(name))[:3, 3] for name in names] for names in
                (optimizer.origin_link_names, optimizer.task_link_names)]  # fmt: skip
        vectors = np.array(ends[1]) - np.array(ends[0])
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _read(config: Path) -> tuple[dict, dict]:
    """Our keys, and dex-retargeting's with the URDF's path made whole."""
    try:
        data = yaml.safe_load(config.read_text())
    except OSError as error:
        raise RobotHandError(f"{config}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RobotHandError(f"{config}: not a YAML file: {' '.join(str(error).split())}") from error
    theirs = data.get("retargeting") if isinstance(data, dict) else None
    if not isinstance(theirs, dict) or not isinstance(theirs.get("urdf_path"), str):
        raise RobotHandError(
            f"{config}: expected a key retargeting with urdf_path and the rest of dex-retargeting's settings"
        )
    urdf = config.parent / theirs["urdf_path"]
    if not urdf.is_file():
        raise RobotHandError(f"{config}: the URDF {urdf} does not exist")
    return data, {**theirs, "urdf_path": str(urdf.resolve())}
