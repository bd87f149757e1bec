"""The parameters of the teleoperation node, read once into a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from scipy.spatial.transform import Rotation

from ...geometry.pose import Pose
from ...teleop.arm import CLUTCHES, ArmConfig
from ...teleop.follower import FollowerConfig
from ...teleop.observation import TrustLimits
from ...types import Side
from ..declaration import ParameterError, check_choices, declare_fields, describe, parameter

GRIPPER_MESSAGES = ("float64", "float64_multi_array", "gripper_command")
UNLIMITED = 1e3
"""Metres; the default of the workspace's limits."""


@dataclass(frozen=True)
class TeleopParameters:
    """Values of the node's parameters. A field's name has ``__`` where the ROS name has a dot."""

    sides: tuple[str, ...] = parameter(("right",), "Hands that move an arm each: right, left, or both.")
    target_frame: str = parameter(
        "", "TF frame of the commanded poses, such as the base of the arm. Empty: the frame of the camera."
    )
    camera__position: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0), "Position of a camera that does not move, in target_frame; used with camera.orientation.", "m"
    )
    camera__orientation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 0.0),
        "Orientation of the optical frame of a camera that does not move, as quaternion x, y, z, w in target_frame. "
        "All zero: the pose of the camera is looked up in TF (needs tf2_ros).",
    )
    start__position: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0),
        "Position of the end effector in target_frame if nobody publishes robot_pose; used with start.orientation.",
        "m",
    )
    start__orientation: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 0.0),
        "Orientation of the end effector as quaternion x, y, z, w. All zero: unknown, and the clutch cannot be "
        "engaged before a robot_pose has been received.",
    )
    rate: float = parameter(50.0, "Rate of the commands.", "Hz", (1.0, 500.0))
    clutch: str = parameter(
        "service",
        "What engages the clutch. service: only the service engage; curl: closing middle, ring and pinky of the same "
        "hand, as long as they stay closed; other_hand: the fist of the other hand, as long as it stays closed.",
        choices=CLUTCHES,
    )
    position_scale: float = parameter(1.0, "Motion of the robot relative to the motion of the hand.", "", (0.01, 10.0))
    follow_rotation: bool = parameter(True, "Whether the end effector rotates with the hand.")
    max_speed: float = parameter(0.5, "Maximum speed of the commanded position.", "m/s", (0.001, 5.0))
    max_rotation_speed: float = parameter(
        1.5, "Maximum angular speed of the commanded orientation.", "rad/s", (0.001, 20.0)
    )
    workspace__min: tuple[float, ...] = parameter(
        (-UNLIMITED,) * 3, "Lowest x, y, z of the commanded position, in target_frame.", "m"
    )
    workspace__max: tuple[float, ...] = parameter(
        (UNLIMITED,) * 3, "Highest x, y, z of the commanded position, in target_frame.", "m"
    )
    watchdog: float = parameter(0.1, "Time without a trusted hand after which commands stop.", "s", (0.02, 1.0))
    resume: float = parameter(
        1.0,
        "Time within which a hand that reappears continues the motion; later the clutch has to be engaged again. With "
        "clutch: curl, a lost hand always opens the clutch.",
        "s",
        (0.0, 10.0),
    )
    max_age: float = parameter(
        0.5, "Age of the image above which its hands are not used. 0: any age, for bags.", "s", (0.0, 10.0)
    )
    max_hand_speed: float = parameter(
        4.0, "Speed above which a motion of the hand is rejected as a jump.", "m/s", (0.1, 50.0)
    )
    ramp: float = parameter(
        0.5,
        "Time in which the speed limits rise from 0 to their full values after a motion begins or continues.",
        "s",
        (0.0, 5.0),
    )
    glitch_lag: int = parameter(
        0,
        "Images by which a hand is followed later, so that glitches of up to so many images are replaced by the median "
        "of the images around them (Hampel filter). 0: no filter.",
        "",
        (0, 10),
    )
    min_score: float = parameter(0.5, "Score below which a hand is not trusted.", "", (0.0, 1.0))
    min_side_score: float = parameter(0.6, "Confidence in its side below which a hand is not trusted.", "", (0.0, 1.0))
    max_reprojection_error: float = parameter(
        0.15,
        "Reprojection error above which a hand is not trusted, as a fraction of the longer side of its box.",
        "",
        (0.0, 10.0),
    )

    gripper__message: str = parameter(
        "float64",
        "Message type of the gripper topic: std_msgs Float64, std_msgs Float64MultiArray, or control_msgs "
        "GripperCommand.",
        choices=GRIPPER_MESSAGES,
    )
    gripper__closed: float = parameter(
        0.0, "Command for the closed gripper, in the unit of the gripper.", "", (-1e3, 1e3)
    )
    gripper__opened: float = parameter(0.08, "Command for the open gripper.", "", (-1e3, 1e3))
    gripper__pinch_closed: float = parameter(
        0.02, "Distance between thumb and index finger at which the gripper is closed.", "m", (0.0, 0.2)
    )
    gripper__pinch_opened: float = parameter(
        0.09, "Distance between thumb and index finger at which the gripper is open.", "m", (0.01, 0.3)
    )
    gripper__speed: float = parameter(4.0, "Maximum speed of the command.", "strokes/s", (0.01, 100.0))
    robot_hand__right: str = parameter(
        "",
        "Robot hand of the right arm: path of a dex-retargeting configuration (YAML) that names its URDF. Empty: none.",
    )
    robot_hand__left: str = parameter("", "Robot hand of the left arm, like robot_hand.right.")
    robot_hand__speed: float = parameter(6.0, "Maximum speed of the joints of the robot hand.", "rad/s", (0.01, 100.0))

    def arm(self, side: Side) -> ArmConfig:
        """Returns the configuration of the arm of a side."""
        follower = FollowerConfig(
            position_scale=self.position_scale,
            follow_rotation=self.follow_rotation,
            max_speed=self.max_speed,
            max_rotation_speed=self.max_rotation_speed,
            workspace_min=_triple(self.workspace__min),
            workspace_max=_triple(self.workspace__max),
            watchdog=self.watchdog,
            resume=self.resume,
            max_hand_speed=self.max_hand_speed,
            ramp=self.ramp,
        )
        return ArmConfig(
            side=side,
            follower=follower,
            trust=TrustLimits(self.min_score, self.min_side_score, self.max_reprojection_error),
            clutch=self.clutch,
            pinch_closed=self.gripper__pinch_closed,
            pinch_opened=self.gripper__pinch_opened,
            gripper_speed=self.gripper__speed,
            joint_speed=self.robot_hand__speed,
            glitch_lag=self.glitch_lag,
        )

    @property
    def camera(self) -> Pose | None:
        """The pose of a camera that does not move; None if it is looked up in TF."""
        return _pose(self.camera__position, self.camera__orientation)

    @property
    def start(self) -> Pose | None:
        """The pose of the end effector; None if unknown."""
        return _pose(self.start__position, self.start__orientation)

    def check(self) -> None:
        """Checks the values that rclpy does not check.

        Raises:
            ParameterError: a value is not one of the choices, or two values contradict each other.
        """
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
    """Returns the pose; None for a zero quaternion."""
    return Pose(Rotation.from_quat(quaternion).as_matrix(), np.array(position)) if any(quaternion) else None


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z


def declare(node: Node) -> TeleopParameters:
    """Declares all parameters and reads them; they are read-only.

    Raises:
        ParameterError: a value has the wrong type, is out of range, is not one of the choices, or contradicts another
            one.
    """
    parameters = TeleopParameters(**declare_fields(node, TeleopParameters, describe))
    parameters.check()
    return parameters
