"""Teleoperation's messages: hands in, commands out. Pure functions."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose as PoseMessage
from geometry_msgs.msg import PoseStamped
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray, Header

from ...msg import Hand
from ...teleop.observation import HandObservation, Pose
from ..messages import SIDES, set_pose

OF_MESSAGE = {value: side for side, value in SIDES.items()}


def observation(hand: Hand) -> HandObservation | None:
    """A hand in the camera's frame; None where its side is unknown or its orientation is none at all (that of a zero quaternion)."""
    wrist = pose(hand.wrist.pose)
    if hand.side not in OF_MESSAGE or wrist is None:
        return None
    return HandObservation(
        side=OF_MESSAGE[hand.side],
        track=hand.id,
        wrist=wrist,
        joints=np.reshape(np.asarray(hand.joints, float), (21, 3)),
        score=hand.score,
        side_score=hand.side_score,
        reprojection_error=hand.reprojection_error,
    )


def pose(message: PoseMessage) -> Pose | None:
    """The pose; None where it is not finite or its quaternion is zero."""
    p, q = message.position, message.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    if not (np.isfinite(position).all() and np.isfinite(quaternion).all() and np.linalg.norm(quaternion) > 0.5):
        return None
    return Pose(position, Rotation.from_quat(quaternion))


def pose_stamped(value: Pose, stamp: Time, frame: str) -> PoseStamped:
    message = PoseStamped(header=Header(stamp=stamp, frame_id=frame))
    set_pose(message.pose, value.position, value.rotation)
    return message


def joint_state(names: list[str], positions: np.ndarray, stamp: Time) -> JointState:
    return JointState(header=Header(stamp=stamp), name=names, position=positions.tolist())


def gripper_type(kind: str) -> type:
    """The message type of ``gripper.message``.

    :raises ImportError: control_msgs is not installed.
    """
    if kind != "gripper_command":
        return {"float64": Float64, "float64_multi_array": Float64MultiArray}[kind]
    try:
        from control_msgs.msg import GripperCommand
    except ImportError as error:
        raise ImportError("gripper.message is gripper_command, but control_msgs is not installed") from error
    return GripperCommand


def gripper(kind: type, value: float):
    """The gripper's command as a message of ``kind``."""
    if kind is Float64:
        return Float64(data=value)
    return Float64MultiArray(data=[value]) if kind is Float64MultiArray else kind(position=value)
