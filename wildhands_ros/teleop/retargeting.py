"""Retargets the joints of a human hand to a robot hand with dex-retargeting, for any URDF.

A configuration is a YAML file of dex-retargeting (its published configurations work). Next to ``retargeting`` it may
have two keys of this package:

- ``root_rotation``: roll, pitch and yaw that rotate the palm's frame (x out of the palm, z along the fingers) into the
  URDF's root frame.
- ``lengths_only``: for grippers. A ``vector`` configuration then follows the lengths of the human hand's vectors, not
  their directions.

``urdf_path`` is relative to the file; ``~`` and ``package://`` may be used.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from ..types import Side
from .robot_hand_files import RobotHandError, RobotHandFiles, read_robot_hand

if TYPE_CHECKING:
    from dex_retargeting.seq_retarget import SeqRetargeting

PALM_AXES = {
    Side.RIGHT: np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]]),
    Side.LEFT: np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]),
}
"""Rotation from the hand model's rest frame to the palm's: x out of the palm, z to the fingers, y to the thumb of a
right hand and away from the thumb of a left hand."""

TOUCH = 0.015
"""Metres between the tip joints of two fingers that touch."""

TRIAL_JOINTS = np.outer(np.arange(21), [-0.004, 0.002, 0.001])
"""Joints that every configuration must be able to follow."""

ROBOTS = Path(__file__).parent / "robots"
"""Two robot hands to try: gripper.yaml and five_finger_hand.yaml."""


class Retargeting:
    """Computes the joint positions of a robot hand. Each result initialises the next optimisation."""

    def __init__(self, config: Path, side: Side):
        """Loads a configuration and its URDF.

        Args:
            config: path of the YAML file.
            side: side of the human hand.

        Raises:
            RobotHandError: the configuration or the URDF cannot be used.
            ImportError: dex-retargeting is not installed.
        """
        files = read_robot_hand(config)
        own = files.settings
        try:
            rotation = Rotation.from_euler(
                "xyz", np.asarray(own.get("root_rotation", (0.0, 0.0, 0.0)), float)
            ).as_matrix()
        except (TypeError, ValueError) as error:
            raise RobotHandError(
                f"{config}: root_rotation is {own['root_rotation']!r}; it must be roll, pitch and yaw in radians"
            ) from error
        self._solver = self._build(files, config)
        self._rotation = rotation @ PALM_AXES[side]
        self._optimizer = self._solver.optimizer
        model = self._optimizer.robot.model
        self.lower, self.upper = model.lowerPositionLimit, model.upperPositionLimit
        """Limits of ``joint_names`` in the URDF."""
        self.joint_names: list[str] = list(self._solver.joint_names)
        """Names of the moving joints in the URDF, in the order of the results."""
        if (
            not self.joint_names
            or not (np.isfinite(self.lower) & np.isfinite(self.upper) & (self.lower <= self.upper)).all()
        ):
            raise RobotHandError(f"{config}: every moving joint of the URDF needs a lower and an upper limit")
        kind = self._optimizer.retargeting_type
        self._is_position = kind == "POSITION"
        self._directions = self._open_directions() if own.get("lengths_only") else None
        if self._directions is not None and kind != "VECTOR":
            raise RobotHandError(f"{config}: lengths_only requires retargeting of type vector, not {kind.lower()}")
        self._try(config)
        self._solver = self._build(files, config)  # Without what the trial left in it.
        self._optimizer = self._solver.optimizer

    def __call__(self, joints: np.ndarray) -> np.ndarray:
        """Returns the positions (radians or metres) of ``joint_names``, within the limits of the URDF.

        Args:
            joints: (21, 3) metres, MediaPipe order, in the hand model's rest frame with the wrist at the origin;
                finite.
        """
        points = joints @ self._rotation.T
        indices = self._optimizer.target_link_human_indices
        reference = points[indices] if self._is_position else points[indices[1]] - points[indices[0]]
        if self._directions is not None:
            lengths = np.maximum(np.linalg.norm(reference, axis=1) - TOUCH, 0)
            reference = self._directions * lengths[:, None]
        with redirect_stdout(StringIO()):
            positions = self._solver.retarget(reference)
        # The limits of the solver are a milliradian wider than those of the URDF.
        return np.clip(positions, self.lower, self.upper)

    @staticmethod
    def _build(files: RobotHandFiles, config: Path) -> SeqRetargeting:
        try:
            from dex_retargeting.retargeting_config import RetargetingConfig
        except ImportError as error:
            raise ImportError(
                f"retargeting needs dex-retargeting (pip install 'wildhands_ros[teleop]'): {error}"
            ) from error
        urdf = Path(files.retargeting["urdf_path"])
        # dex-retargeting's copy of the URDF keeps its name; in a folder of ours, none is left behind.
        with TemporaryDirectory() as folder, _temporary_files_in(folder), redirect_stdout(StringIO()):
            try:
                return RetargetingConfig.from_dict(dict(files.retargeting)).build()
            except Exception as error:  # The URDF parser, pinocchio and dex-retargeting raise various types.
                text = " ".join(str(error).split()) or type(error).__name__
                text = re.sub(rf"{re.escape(folder)}\S*/{re.escape(urdf.name)}", str(urdf), text)
                raise RobotHandError(f"{config}: {text}") from error

    def _try(self, config: Path) -> None:
        """Retargets one hand, so that what does not work is found now and not while an arm is moving.

        Raises:
            RobotHandError: it does not work.
        """
        try:
            positions = self(TRIAL_JOINTS)
        except Exception as error:  # dex-retargeting and pinocchio raise various types.
            text = " ".join(str(error).split())
            raise RobotHandError(f"{config}: a hand cannot be retargeted ({type(error).__name__}: {text})") from error
        if not np.isfinite(positions).all():
            raise RobotHandError(f"{config}: the retargeting of a hand contains NaN or infinity")

    def tip_distance(self, positions: np.ndarray, first: str, second: str) -> float:
        """Returns the metres between the origins of two links at these joint positions."""
        robot = self._optimizer.robot
        robot.compute_forward_kinematics(np.asarray(positions, float))
        a, b = (robot.get_link_pose(robot.get_link_index(name))[:3, 3] for name in (first, second))
        return float(np.linalg.norm(a - b))

    def _open_directions(self) -> np.ndarray:
        """Returns the unit vectors between the robot's links with every joint in the middle of its range."""
        robot, optimizer = self._optimizer.robot, self._optimizer
        robot.compute_forward_kinematics((self.lower + self.upper) / 2)
        ends = [[robot.get_link_pose(robot.get_link_index(name))[:3, 3] for name in names] for names in
                (optimizer.origin_link_names, optimizer.task_link_names)]  # fmt: skip
        vectors = np.array(ends[1]) - np.array(ends[0])
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """Lets ``tempfile`` make its files in a folder."""
    before, tempfile.tempdir = tempfile.tempdir, folder
    try:
        yield
    finally:
        tempfile.tempdir = before
