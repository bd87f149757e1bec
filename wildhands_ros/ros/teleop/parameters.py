"""Parameters of the teleoperation node, declared once here and read once into a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from scipy.spatial.transform import Rotation

from ...teleop.arm import CLUTCHES, ArmConfig
from ...teleop.follower import FollowerConfig
from ...teleop.observation import Pose, Trust
from ...types import Side
from ..declaration import ParameterError, check_choices, declare_fields, describe, parameter

GRIPPER_MESSAGES = ("float64", "float64_multi_array", "gripper_command")
UNLIMITED = 1e3
"""Metres; where no workspace is given."""


@dataclass(frozen=True)
class TeleopParameters:
    """Values of the node's parameters. Names here have ``__`` where ROS has a dot."""

    sides: tuple[str, ...] = parameter(("right",), "Hands that lead an arm each: right, left, or both.")
    target_frame: str = parameter(
        "", "Frame of the commanded poses, such as the arm's base. Empty: the camera's own frame."
    )
    camera__position: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0), "Place of a camera that does not move, in target_frame, with camera.orientation.", "m"
    )
    camera__orientation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 0.0),
        "Its optical frame's quaternion x, y, z, w in target_frame. All zero: ask TF (tf2_ros) instead.",
    )
    start__position: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0),
        "Where the end effector is when nobody publishes robot_pose, in target_frame, with start.orientation.",
        "m",
    )
    start__orientation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 0.0), "Its quaternion x, y, z, w. All zero: unknown, and engaging waits for a robot_pose."
    )
    rate: float = parameter(50.0, "Rate of the commands.", "Hz", (1.0, 500.0))
    clutch: str = parameter(
        "service",
        "What closes the clutch: service (the engage service alone), curl (middle, ring and pinky of the same hand closed, while held), or "
        "other_hand (the other hand's fist, while held).",
        choices=CLUTCHES,
    )
    position_scale: float = parameter(1.0, "Motion of the robot for a motion of the hand.", "", (0.01, 10.0))
    follow_rotation: bool = parameter(True, "Whether the end effector turns with the hand.")
    max_speed: float = parameter(0.5, "Highest speed of the commanded position.", "m/s", (0.001, 5.0))
    max_rotation_speed: float = parameter(1.5, "Highest speed of the commanded orientation.", "rad/s", (0.001, 20.0))
    workspace__min: tuple[float, ...] = parameter(
        (-UNLIMITED,) * 3, "Lowest x, y, z of the commanded position, in target_frame.", "m"
    )
    workspace__max: tuple[float, ...] = parameter(
        (UNLIMITED,) * 3, "Highest x, y, z of the commanded position, in target_frame.", "m"
    )
    watchdog: float = parameter(0.1, "Time without a good hand after which commands stop.", "s", (0.02, 1.0))
    resume: float = parameter(
        1.0,
        "Time within which a hand that comes back goes on; later, and with clutch curl, it must engage anew.",
        "s",
        (0.0, 10.0),
    )
    max_age: float = parameter(
        0.5, "Age of the image beyond which its hands are not used. 0: any (bags played back).", "s", (0.0, 10.0)
    )
    max_hand_speed: float = parameter(4.0, "A hand that moves faster is taken for a wrong one.", "m/s", (0.1, 50.0))
    min_score: float = parameter(0.5, "Score below which a hand is not trusted.", "", (0.0, 1.0))
    min_side_score: float = parameter(0.6, "Certainty of its side below which a hand is not trusted.", "", (0.0, 1.0))
    max_reprojection_error: float = parameter(
        0.15, "Reprojection error above which a hand is not trusted, as a fraction of its box.", "", (0.0, 10.0)
    )

    gripper__message: str = parameter(
        "float64",
        "Type of the gripper's topic: std_msgs Float64, Float64MultiArray, or control_msgs GripperCommand.",
        choices=GRIPPER_MESSAGES,
    )
    gripper__closed: float = parameter(0.0, "Command for a closed gripper, in its own unit.", "", (-1e3, 1e3))
    gripper__opened: float = parameter(0.08, "Command for an open gripper.", "", (-1e3, 1e3))
    gripper__pinch_closed: float = parameter(0.02, "Distance of thumb and index that closes it.", "m", (0.0, 0.2))
    gripper__pinch_opened: float = parameter(0.09, "Distance of thumb and index that opens it.", "m", (0.01, 0.3))
    gripper__speed: float = parameter(4.0, "Highest speed of the command.", "strokes/s", (0.01, 100.0))
    robot_hand__right: str = parameter(
        "", "Robot hand of the right arm: a dex-retargeting configuration (YAML) with its URDF. Empty: none."
    )
    robot_hand__left: str = parameter("", "The same for the left arm.")
    robot_hand__speed: float = parameter(6.0, "Highest speed of the robot hand's joints.", "rad/s", (0.01, 100.0))

    def arm(self, side: Side) -> ArmConfig:
        """What the arm of one side is made of."""
        follower = FollowerConfig(
            position_scale=self.position_scale,
            follow_rotation=self.follow_rotation,
            max_speed=self.max_speed,
            max_rotation_speed=self.max_rotation_speed,
            workspace_min=self.workspace__min,
            workspace_max=self.workspace__max,
            watchdog=self.watchdog,
            resume=self.resume,
            max_hand_speed=self.max_hand_speed,
        )
        return ArmConfig(
            side=side,
            follower=follower,
            trust=Trust(self.min_score, self.min_side_score, self.max_reprojection_error),
            clutch=self.clutch,
            pinch_closed=self.gripper__pinch_closed,
            pinch_opened=self.gripper__pinch_opened,
            gripper_speed=self.gripper__speed,
            joint_speed=self.robot_hand__speed,
        )

    @property
    def camera(self) -> Pose | None:
        """The fixed camera's pose; None where TF is to be asked."""
        return _pose(self.camera__position, self.camera__orientation)

    @property
    def start(self) -> Pose | None:
        """Where the end effector is; None where unknown."""
        return _pose(self.start__position, self.start__orientation)

    def check(self) -> None:
        """:raises ParameterError: a value is not one of the choices, or values contradict one another."""
        check_choices(self)
        if not self.sides or not set(self.sides) <= {side.value for side in Side}:
            raise ParameterError(f"parameter sides is {list(self.sides)}; it must name right, left or both")
        lengths = {
            "camera.position": 3,
            "camera.orientation": 4,
            "start.position": 3,
            "start.orientation": 4,
            "workspace.min": 3,
        }
        for name, length in {**lengths, "workspace.max": 3}.items():
            values = getattr(self, name.replace(".", "__"))
            if len(values) != length or not np.isfinite(values).all():
                raise ParameterError(f"parameter {name} is {list(values)}; it must be {length} finite numbers")
        if not np.less(self.workspace__min, self.workspace__max).all():
            raise ParameterError("parameter workspace.min must be below workspace.max in x, y and z")
        if self.gripper__pinch_closed >= self.gripper__pinch_opened:
            raise ParameterError("parameter gripper.pinch_closed must be below gripper.pinch_opened")


def _pose(position: tuple[float, ...], quaternion: tuple[float, ...]) -> Pose | None:
    return Pose(np.array(position), Rotation.from_quat(quaternion)) if any(quaternion) else None


def declare(node: Node) -> TeleopParameters:
    """Declares all parameters and reads them; none may be set later.

    :raises ParameterError: wrong type, out of range, not one of the choices, or contradictory.
    """
    parameters = TeleopParameters(**declare_fields(node, TeleopParameters, describe))
    parameters.check()
    return parameters
