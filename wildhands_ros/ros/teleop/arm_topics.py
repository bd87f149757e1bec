"""Topics and service of a teleoperated arm."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64
from std_srvs.srv import SetBool

from ...teleop.arm import Arm, ArmCommand
from ...teleop.observation import HandObservation
from ...types import Side
from ..rejections import InputRejected
from .latency import Latency
from .messages import gripper, gripper_type, joint_state, pose, pose_stamped, time_message
from .parameters import TeleopParameters

if TYPE_CHECKING:
    from ...teleop.retargeting import Retargeting

ERROR_LOG_PERIOD = 5.0
"""Seconds between two logs of errors."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ArmTopics:
    """The topics and the service of an arm, in the namespace teleop/<side>."""

    def __init__(
        self,
        node: Node,
        side: Side,
        parameters: TeleopParameters,
        frame_problem: Callable[[str], str],
        reject: Callable[[InputRejected], None],
    ):
        """Creates publishers, subscription and service.

        Args:
            node: node that owns the topics.
            side: side of the hand that moves the arm.
            parameters: parameters of the node.
            frame_problem: returns why a pose in a TF frame cannot be used; empty if it can.
            reject: called with each rejected input.

        Raises:
            ValueError, ImportError: the robot hand cannot be used.
        """
        self.side = side
        self._node, self._parameters, self._frame_problem, self._reject = node, parameters, frame_problem, reject
        config = parameters.robot_hand__right if side is Side.RIGHT else parameters.robot_hand__left
        self._retargeting = _retargeting(config, side)
        self.arm = Arm(parameters.arm(side), self._retargeting, parameters.start)
        self._gripper_type = gripper_type(parameters.gripper__message)
        prefix = f"teleop/{side.value}"
        self._wrist = node.create_publisher(PoseStamped, f"{prefix}/wrist", 10)
        self._pinch = node.create_publisher(Float64, f"{prefix}/pinch", 10)
        self._pose = node.create_publisher(PoseStamped, f"{prefix}/pose", 10)
        self._gripper = node.create_publisher(self._gripper_type, f"{prefix}/gripper", 10)
        self._joints = node.create_publisher(JointState, f"{prefix}/joint_states", 10) if self._retargeting else None
        self._engaged = node.create_publisher(Bool, f"{prefix}/engaged", LATCHED)
        self._latency = node.create_publisher(Float64, f"{prefix}/latency", 10)
        self.latency = Latency()
        """Latency of the commands of this arm."""
        self._published_engaged: bool | None = None
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(PoseStamped, f"{prefix}/robot_pose", self._on_robot_pose, latest)
        node.create_service(SetBool, f"{prefix}/engage", self._on_engage)
        self._publish_engaged()

    def frame(self, hands: list[HandObservation], frame: str) -> None:
        """Adds the hands of a frame of the stream, in the target frame."""
        try:
            self.arm.frame(time.monotonic(), hands)
        except Exception as error:  # The robot hand's solver raises various types.
            self._fail(error)
        if (hand := self.arm.hand) is not None:
            self._wrist.publish(pose_stamped(hand.wrist, time_message(hand.stamp), frame))
            self._pinch.publish(Float64(data=hand.pinch))
        self._publish_engaged()

    def tick(self, frame: str) -> None:
        """Publishes the current command, if there is one."""
        command = None
        try:
            command = self.arm.tick(time.monotonic())
        except Exception as error:
            self._fail(error)
        if command is not None:
            now = self._node.get_clock().now()
            self._send(command, now.to_msg(), frame)
            if (latency := self.latency.add(command.stamp, now.nanoseconds)) is not None:
                self._latency.publish(Float64(data=latency))
        self._publish_engaged()

    def _fail(self, error: Exception) -> None:
        """Opens the clutch after an error of this arm; the node and the other arm go on."""
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        self._node.get_logger().error(
            f"{self.side.value} arm: this is a bug, please report it:\n{''.join(traceback.format_exception(error))}",
            throttle_duration_sec=ERROR_LOG_PERIOD,
        )
        self._reject(InputRejected("internal_error", f"the {self.side.value} arm was released after an error: {text}"))
        self.arm.release()
        self.arm.hand = None
        self.arm.status = f"released after an error ({text}), engage again"

    def _send(self, command: ArmCommand, stamp: Time, frame: str) -> None:
        closed, opened = self._parameters.gripper__closed, self._parameters.gripper__opened
        self._pose.publish(pose_stamped(command.pose, stamp, frame))
        self._gripper.publish(gripper(self._gripper_type, closed + command.opening * (opened - closed)))
        if command.joints is not None and self._joints is not None and self._retargeting is not None:
            self._joints.publish(joint_state(self._retargeting.joint_names, command.joints, stamp))

    def _publish_engaged(self) -> None:
        if self.arm.engaged != self._published_engaged:
            self._published_engaged = self.arm.engaged
            self._engaged.publish(Bool(data=self.arm.engaged))
            self._node.get_logger().info(f"{self.side.value} arm {self.arm.status}")

    def _on_robot_pose(self, message: PoseStamped) -> None:
        value = pose(message.pose)
        frame_id = message.header.frame_id
        if problem := self._frame_problem(frame_id):
            self._reject(InputRejected("invalid_robot_pose", f"robot_pose is in frame {frame_id!r}, {problem}"))
        elif value is None:
            self._reject(
                InputRejected(
                    "invalid_robot_pose", "robot_pose contains NaN, is too far away, or its quaternion is not of norm 1"
                )
            )
        else:
            self.arm.robot_at(time.monotonic(), value)

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            response.success = self.arm.engage(time.monotonic())
        else:
            self.arm.release()
            response.success = True
        response.message = self.arm.status
        self._publish_engaged()
        return response


def _retargeting(config: str, side: Side) -> Retargeting | None:
    if not config:
        return None
    # Imported late: it imports torch and pinocchio, which arms without a robot hand do not need.
    from ...teleop.retargeting import Retargeting

    return Retargeting(Path(config).expanduser(), side)
