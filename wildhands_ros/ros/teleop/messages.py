"""Conversion between the teleoperation node's messages and the types of ``wildhands_ros.teleop``."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray, Header

from ...geometry.pose import Pose
from ...geometry.so3 import quaternions_from_matrices
from ...msg import Hand
from ...teleop.observation import HandObservation
from ..messages import SIDE_OF_VALUE, set_pose
from ..stamps import nanoseconds

FARTHEST_HAND = 100.0
"""Metres from the camera beyond which a hand is invalid."""
FARTHEST_POSE = 1e6
"""Metres from the origin of its frame beyond which a pose is invalid."""


def observation(hand: Hand, stamp: Time) -> HandObservation | None:
    """Returns a hand in the camera's frame; None if its side is unknown or its pose is invalid.

    Args:
        hand: the message.
        stamp: stamp of the image.
    """
    wrist = pose(hand.wrist.pose)
    joints = np.reshape(np.asarray(hand.joints, float), (21, 3))
    if hand.side not in SIDE_OF_VALUE or wrist is None or (np.abs(wrist.position) > FARTHEST_HAND).any():
        return None
    if (np.abs(joints) > FARTHEST_HAND).any():  # False for NaN, which TrustLimits reports.
        return None
    return HandObservation(
        side=SIDE_OF_VALUE[hand.side],
        track=hand.id,
        wrist=wrist,
        joints=joints,
        score=hand.score,
        side_score=hand.side_score,
        reprojection_error=hand.reprojection_error,
        stamp=nanoseconds(stamp),
    )


def time_message(stamp: int) -> Time:
    """Returns the message of a stamp in nanoseconds."""
    return Time(sec=stamp // 10**9, nanosec=stamp % 10**9)


def pose(message: PoseMessage) -> Pose | None:
    """Returns the pose; None if it contains NaN, is too far away, or has a quaternion whose norm is not about 1."""
    try:
        found = Pose.from_message(message.position, message.orientation)
    except ValueError:
        return None
    return found if (np.abs(found.position) <= FARTHEST_POSE).all() else None


def pose_stamped(value: Pose, stamp: Time, frame: str) -> PoseStamped:
    """Returns the message of a pose in a TF frame."""
    message = PoseStamped(header=Header(stamp=stamp, frame_id=frame))
    set_pose(message.pose, value.position, quaternions_from_matrices(value.rotation))
    return message


def joint_state(names: list[str], positions: np.ndarray, stamp: Time) -> JointState:
    """Returns the message of the joint positions of a robot hand."""
    return JointState(header=Header(stamp=stamp), name=names, position=positions.tolist())


def gripper_type(kind: str) -> type:
    """Returns the message type for the parameter ``gripper.message``.

    Raises:
        ImportError: control_msgs is not installed.
    """
    if kind != "gripper_command":
        return {"float64": Float64, "float64_multi_array": Float64MultiArray}[kind]
    try:
        from control_msgs.msg import GripperCommand
    except ImportError as error:
        raise ImportError("gripper.message is gripper_command, but control_msgs is not installed") from error
    return GripperCommand


def gripper(kind: type, value: float) -> Any:
    """Returns a gripper command as a message of type ``kind``."""
    if kind is Float64:
        return Float64(data=value)
    return Float64MultiArray(data=[value]) if kind is Float64MultiArray else kind(position=value)
