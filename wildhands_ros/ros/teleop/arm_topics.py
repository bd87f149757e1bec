"""Topics and service of one teleoperated arm."""

from __future__ import annotations

import time
from pathlib import Path

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
from .messages import gripper, gripper_type, joint_state, pose, pose_stamped
from .parameters import TeleopParameters

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ArmTopics:
    """Topics and service of one arm, under teleop/<side>."""

    def __init__(self, node: Node, side: Side, parameters: TeleopParameters):
        """:raises ValueError, ImportError: the robot hand cannot be used."""
        self.side = side
        self._node, self._parameters = node, parameters
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
        self._engaged_said: bool | None = None
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(PoseStamped, f"{prefix}/robot_pose", self._on_robot_pose, latest)
        node.create_service(SetBool, f"{prefix}/engage", self._on_engage)
        self._say_engaged()

    def frame(self, hands: list[HandObservation], stamp, frame: str) -> None:
        """Takes the hands of a frame, in the target frame."""
        self.arm.frame(time.monotonic(), hands)
        if (hand := self.arm.hand) is not None:
            self._wrist.publish(pose_stamped(hand.wrist, stamp, frame))
            self._pinch.publish(Float64(data=hand.pinch))
        self._say_engaged()

    def tick(self, frame: str) -> None:
        """Sends the command of this moment, if there is one."""
        command = self.arm.tick(time.monotonic())
        if command is not None:
            self._send(command, self._node.get_clock().now().to_msg(), frame)
        self._say_engaged()

    def _send(self, command: ArmCommand, stamp, frame: str) -> None:
        closed, opened = self._parameters.gripper__closed, self._parameters.gripper__opened
        self._pose.publish(pose_stamped(command.pose, stamp, frame))
        self._gripper.publish(gripper(self._gripper_type, closed + command.opening * (opened - closed)))
        if command.joints is not None:
            self._joints.publish(joint_state(self._retargeting.joint_names, command.joints, stamp))

    def _say_engaged(self) -> None:
        if self.arm.engaged != self._engaged_said:
            self._engaged_said = self.arm.engaged
            self._engaged.publish(Bool(data=self.arm.engaged))
            self._node.get_logger().info(f"{self.side.value} arm {self.arm.status}")

    def _on_robot_pose(self, message: PoseStamped) -> None:
        value = pose(message.pose)
        if fault := self._node.frame_fault(message.header.frame_id):
            self._node.refuse(
                InputRejected("robot_pose", f"robot_pose is in frame {message.header.frame_id!r}, {fault}")
            )
        elif value is None:
            self._node.refuse(InputRejected("robot_pose", "robot_pose holds NaN or no orientation"))
        else:
            self.arm.robot_at(time.monotonic(), value)

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            response.success = self.arm.engage(time.monotonic())
        else:
            self.arm.release()
            response.success = True
        response.message = self.arm.status
        self._say_engaged()
        return response


def _retargeting(config: str, side: Side):
    if not config:
        return None
    # Late: it imports torch and pinocchio, which arms without a robot hand do not need.
    from ...teleop.retargeting import Retargeting

    return Retargeting(Path(config).expanduser(), side)
