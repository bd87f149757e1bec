"""The teleoperation node: hands in, commands for one or two robot arms out. It only carries messages; ``teleop`` decides."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Point, PoseStamped
from geometry_msgs.msg import Pose as PoseMessage
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64
from std_srvs.srv import SetBool

from ...msg import HandArray
from ...structures import Side
from ...teleop.arm import Arm, ArmCommand
from ...teleop.observation import HandObservation, Pose
from ..declaration import ParameterError
from ..diagnostics import Snapshot, diagnostic_array
from ..refusals import InputRefused, Refusals
from .messages import gripper, gripper_type, joint_state, observation, pose, pose_stamped
from .parameters import TeleopParameters, declare

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SILENCE = 2.0
"""Seconds without hands after which diagnostics call them missing."""


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
        target, value = self._parameters.target_frame, pose(message.pose)
        if target and message.header.frame_id != target:
            text = f"robot_pose is in frame {message.header.frame_id!r}, but target_frame is {target!r}"
            self._node.refuse(InputRefused("robot_pose", text))
        elif value is None:
            self._node.refuse(InputRefused("robot_pose", "robot_pose holds NaN or no orientation"))
        else:
            self.arm.robot_at(value)

    def _on_engage(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if request.data:
            response.success = self.arm.engage(time.monotonic())
        else:
            self.arm.release()
            response.success = True
        response.message = self.arm.status
        self._say_engaged()
        return response


class TeleopNode(Node):
    """Topics, services and parameters are in docs/teleoperation.md."""

    def __init__(self):
        """:raises ParameterError, ValueError, ImportError: a parameter, a robot hand or a package cannot be used."""
        super().__init__("wildhands_teleop")
        self.parameters = declare(self)
        self._refusals, self._frames, self._heard = Refusals(), 0, -np.inf
        self._frame_id = self.parameters.target_frame
        self._tf = None
        if self.parameters.target_frame and self.parameters.camera is None:
            self._tf = _tf_buffer(self)
        self._arms = [ArmTopics(self, Side(name), self.parameters) for name in dict.fromkeys(self.parameters.sides)]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(HandArray, "hands", self._on_hands, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
        # Not the node's clock: a simulated one may stand still, and the watchdog must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / self.parameters.rate, self._tick, clock=steady)
        self.create_timer(1.0, self._once_a_second, clock=steady)

    def refuse(self, refusal: InputRefused) -> None:
        """Counts an input that is not used, and says so now and then."""
        if self._refusals.add(refusal, time.monotonic()):
            self.get_logger().warning(f"{refusal.name}: {refusal}")

    def _on_hands(self, message: HandArray) -> None:
        self._heard, self._frames = time.monotonic(), self._frames + 1
        try:
            hands = self._hands(message)
        except InputRefused as refusal:
            self.refuse(refusal)
            hands = []
        for arm in self._arms:
            arm.frame(hands, message.header.stamp, self._frame_id)

    def _hands(self, message: HandArray) -> list[HandObservation]:
        """In the target frame.

        :raises InputRefused: they cannot be used.
        """
        age = (self.get_clock().now() - Time.from_msg(message.header.stamp)).nanoseconds / 1e9
        longest = self.parameters.max_age
        if longest and not -longest <= age <= longest:
            text = f"the hands are {age:.2f} s old (max_age {longest:g} s): a slow estimator, or clocks that differ"
            raise InputRefused("stale", text)
        if message.intrinsics_source == HandArray.INTRINSICS_GUESS:
            text = "the camera's intrinsics are guessed: motions are not to scale; calibrate the camera"
            self.refuse(InputRefused("guess", text))
        camera = self._camera(message)
        found = [observation(hand) for hand in message.hands]
        if None in found:
            self.refuse(InputRefused("broken_hand", "a hand without a side or with a broken pose"))
        return [hand.seen_from(camera) for hand in found if hand is not None]

    def _camera(self, message: HandArray) -> Pose:
        """The camera's pose in the target frame.

        :raises InputRefused: it is unknown.
        """
        target, source = self.parameters.target_frame, message.header.frame_id
        if not target:
            self._frame_id = source
            return Pose(np.zeros(3), Rotation.identity())
        if self._tf is None:
            return self.parameters.camera
        try:
            found = self._tf.lookup_transform(target, source, Time()).transform
        except Exception as error:  # tf2's own exceptions have no common base that is worth importing
            raise InputRefused("no_transform", f"no transform from {source!r} to {target!r}: {error}") from error
        t = found.translation
        if (camera := pose(PoseMessage(position=Point(x=t.x, y=t.y, z=t.z), orientation=found.rotation))) is None:
            raise InputRefused("no_transform", f"the transform from {source!r} to {target!r} holds NaN or no rotation")
        return camera

    def _tick(self) -> None:
        for arm in self._arms:
            arm.tick(self._frame_id)

    def _once_a_second(self) -> None:
        values = {"frames": str(self._frames), "last refusal": self._refusals.last_message}
        values |= {f"refused: {name}": str(count) for name, count in sorted(self._refusals.counts.items())}
        for topics in self._arms:
            side = topics.side.value
            values |= {f"{side} arm": topics.arm.status, f"{side} hands doubtful": str(topics.arm.rejected)}
        level, text = DiagnosticStatus.OK, "; ".join(f"{topics.side.value} arm {topics.arm.status}" for topics in self._arms)
        if time.monotonic() - self._heard > SILENCE:
            level, text = DiagnosticStatus.WARN, f"no hands arrive on {self.resolve_topic_name('hands')}"
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(diagnostic_array(Snapshot(level, text, values), name, self.get_clock().now().to_msg()))


def _retargeting(config: str, side: Side):
    if not config:
        return None
    # Late: it imports torch and pinocchio, which arms without a robot hand do not need.
    from ...teleop.retargeting import Retargeting

    return Retargeting(Path(config).expanduser(), side)


def _tf_buffer(node: Node):
    try:
        from tf2_ros import Buffer, TransformListener
    except ImportError as error:
        raise ParameterError(
            "target_frame needs tf2_ros, or camera.position and camera.orientation for a camera that does not move"
        ) from error
    buffer = Buffer()
    node.transform_listener = TransformListener(buffer, node)
    return buffer


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM; returns the exit code."""
    rclpy.init(args=arguments)
    node = None
    try:
        node = TeleopNode()
        rclpy.spin(node)
    except (ParameterError, ValueError, ImportError) as error:
        print(f"wildhands_teleop: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
