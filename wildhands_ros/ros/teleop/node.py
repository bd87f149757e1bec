"""The teleoperation node, which receives hands and sends commands to one or two robot arms.

It converts messages and looks up transforms; ``wildhands_ros.teleop`` decides what the arms do.
"""

from __future__ import annotations

if __name__ == "__main__":  # Before the imports, which take seconds: a signal may arrive meanwhile.
    from wildhands_ros.ros.process import run

    run("wildhands_ros.ros.teleop.node")

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time

from ...geometry.pose import Pose
from ...msg import HandArray
from ...teleop.observation import HandObservation
from ...types import Side
from ..camera_motion import CameraMotion, TransformPending, TransformUnavailable
from ..declaration import ParameterError
from ..diagnostics import Snapshot, diagnostic_array
from ..rejections import InputRejected, Rejections
from ..spinning import spin_until_signal
from ..surroundings import discovery_hint
from ..type_conflicts import type_conflicts
from .arm_topics import ArmTopics
from .messages import observation
from .parameters import declare

SILENCE = 2.0
"""Seconds without hands after which diagnostics warn."""
RECENT = 3.0
"""Seconds for which diagnostics show a rejection."""
DEFAULT_TF_TIMEOUT = 0.5
"""Seconds for which hands wait for TF if ``max_age`` allows any age."""


@dataclass(frozen=True)
class _WaitingHands:
    """Hands that wait until TF covers their time."""

    message: HandArray
    deadline: float
    """Time at which they are discarded, in seconds of the monotonic clock."""


class TeleopNode(Node):
    """Moves robot arms with hands; docs/teleoperation.md describes its topics, services and parameters."""

    def __init__(self) -> None:
        """Creates the node.

        Raises:
            ParameterError, ValueError, ImportError: a parameter, a robot hand or a package cannot be used.
        """
        super().__init__("wildhands_teleop")
        self.parameters = declare(self)
        self._rejections = Rejections()
        self._frames = 0
        self._received_at = self._last_stamp = -np.inf
        self._intervals: deque[float] = deque(maxlen=10)
        self._waiting: deque[_WaitingHands] = deque()
        self._frame_id = self.parameters.target_frame
        """TF frame of the commands; empty until it is known."""
        self._camera_motion: CameraMotion | None = None
        if self.parameters.target_frame and self.parameters.camera is None:
            if not CameraMotion.is_available():
                raise ParameterError(
                    "target_frame needs tf2_ros, or camera.position and camera.orientation of a camera that does not "
                    "move"
                )
            self._camera_motion = CameraMotion(self, self.parameters.target_frame)
        sides = dict.fromkeys(self.parameters.sides)
        self._arms = [ArmTopics(self, Side(name), self.parameters, self._frame_problem, self._reject) for name in sides]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(HandArray, "hands", self._on_hands, latest)
        # Not the node's clock: simulated time may stand still, and the watchdog must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / self.parameters.rate, self._on_command_timer, clock=steady)
        self.create_timer(1.0, self._on_diagnostics_timer, clock=steady)

    def _reject(self, rejection: InputRejected) -> None:
        """Counts rejected input and logs it at a limited rate."""
        if self._rejections.add(rejection, time.monotonic()):
            self.get_logger().warning(f"{rejection.name}: {rejection}")

    def _frame_problem(self, frame_id: str) -> str:
        """Returns why a pose in this TF frame cannot be used; empty if it can."""
        if not self._frame_id:
            return (
                "but commands are sent in the camera's frame, which is unknown before the first hands arrive: set "
                "target_frame"
            )
        if frame_id != self._frame_id:
            return f"but commands are sent in {self._frame_id!r}: set target_frame to the frame of robot_pose"
        return ""

    def _on_hands(self, message: HandArray) -> None:
        if message.header.stamp.sec < 0:
            self._reject(InputRejected("invalid_stamp", f"the stamp of the hands is {message.header.stamp.sec} s"))
            return
        now, stamp = time.monotonic(), Time.from_msg(message.header.stamp).nanoseconds / 1e9
        if self._frames:
            self._intervals.append(now - self._received_at)
        if stamp < self._last_stamp - 1.0:  # A bag is played again.
            self._waiting.clear()
            if self._camera_motion is not None:
                self._camera_motion.clear()
        self._received_at, self._last_stamp, self._frames = now, stamp, self._frames + 1
        self._frame_id = self.parameters.target_frame or message.header.frame_id
        max_age = self.parameters.max_age
        try:
            age = self._checked_age(message)
        except InputRejected as rejection:
            self._reject(rejection)
            self._forward([], message)
        else:
            self._waiting.append(_WaitingHands(message, now + (max_age - age if max_age else DEFAULT_TF_TIMEOUT)))
            self._process_waiting()

    def _process_waiting(self) -> None:
        """Forwards waiting hands to the arms, in order, up to the time that TF covers."""
        while self._waiting:
            waiting = self._waiting[0]
            hands: list[HandObservation] = []
            try:
                hands = self._observations(waiting.message)
            except TransformUnavailable as error:
                if isinstance(error, TransformPending) and time.monotonic() <= waiting.deadline:
                    return
                detail = f" ({error.__cause__})" if error.__cause__ else ""
                self._reject(
                    InputRejected(
                        "no_transform", f"{error}; is its publisher running, and are the clocks synchronised?{detail}"
                    )
                )
            except InputRejected as rejection:
                self._reject(rejection)
            self._waiting.popleft()
            self._forward(hands, waiting.message)

    def _forward(self, hands: list[HandObservation], message: HandArray) -> None:
        for arm in self._arms:
            arm.frame(hands, self._frame_id)

    def _checked_age(self, message: HandArray) -> float:
        """Returns the seconds since the image was taken.

        Raises:
            InputRejected: the image is too old.
        """
        age = (self.get_clock().now() - Time.from_msg(message.header.stamp)).nanoseconds / 1e9
        max_age = self.parameters.max_age
        if max_age and not -max_age <= age <= max_age:
            text = f"the hands are {age:.2f} s old (max_age {max_age:g} s): the estimator is slow, or the clocks differ"
            raise InputRejected("stale_hands", text)
        return age

    def _observations(self, message: HandArray) -> list[HandObservation]:
        """Returns the hands in the target frame.

        Raises:
            TransformUnavailable: TF does not know the camera's pose, perhaps not yet.
            InputRejected: the hands are too old.
        """
        camera = self._camera_pose(message)
        self._checked_age(message)  # Again, since the message may have waited for TF.
        if message.intrinsics_source == HandArray.INTRINSICS_GUESS:
            text = "the camera intrinsics are guessed, so motions are not to scale: calibrate the camera"
            self._reject(InputRejected("guessed_intrinsics", text))
        found = [observation(hand, message.header.stamp) for hand in message.hands]
        if None in found:
            self._reject(InputRejected("invalid_hand", "a hand has no side or an invalid pose"))
        return [hand.transformed(camera) for hand in found if hand is not None]

    def _camera_pose(self, message: HandArray) -> Pose:
        """Returns the pose of the camera in the target frame.

        Raises:
            TransformUnavailable: TF does not know it, perhaps not yet.
        """
        if self._camera_motion is not None:
            return self._camera_motion.pose(message.header)
        fixed = self.parameters.camera if self.parameters.target_frame else None
        return Pose.identity() if fixed is None else fixed

    def _on_command_timer(self) -> None:
        self._process_waiting()
        for arm in self._arms:
            arm.tick(self._frame_id)

    def _on_diagnostics_timer(self) -> None:
        values = {"frames": str(self._frames), "last rejection": self._rejections.last_message or "none"}
        values |= {f"rejected: {name}": str(count) for name, count in sorted(self._rejections.counts.items())}
        for topics in self._arms:
            side = topics.side.value
            values |= {
                f"{side} arm": topics.arm.status,
                f"{side} hands not trusted": str(topics.arm.rejected),
                f"{side} glitches replaced": str(topics.arm.glitches),
                f"{side} latency": topics.latency.summary(),
            }
        warnings = self._warnings(time.monotonic())
        level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
        text = "; ".join(warnings or (f"{topics.side.value} arm {topics.arm.status}" for topics in self._arms))
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(
            diagnostic_array(Snapshot(level, text, values), name, self.get_clock().now().to_msg())
        )

    def _warnings(self, now: float) -> list[str]:
        warnings = self._rejections.since(now - RECENT)
        interval = float(np.median(self._intervals)) if self._intervals else 0.0
        watchdog = self.parameters.watchdog
        if now - self._received_at > SILENCE:
            warnings.insert(0, f"no hands arrive on {self.resolve_topic_name('hands')}{discovery_hint()}")
        elif interval > watchdog:
            warnings.append(
                f"hands arrive every {interval:.2g} s, less often than watchdog ({watchdog:g} s) allows: raise "
                "watchdog, or speed up the estimator"
            )
        return warnings + type_conflicts(self)


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Args:
        arguments: ROS arguments; None to use those of the command line.

    Returns:
        The exit code.
    """
    return spin_until_signal("wildhands_teleop", TeleopNode, arguments, errors=(ValueError, ImportError))
