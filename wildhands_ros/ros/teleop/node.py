"""The teleoperation node: hands in, commands for one or two robot arms out. It only carries messages; ``teleop`` decides."""

from __future__ import annotations

import sys
import time
from collections import deque

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from scipy.spatial.transform import Rotation

from ...msg import HandArray
from ...teleop.observation import HandObservation, Pose
from ...types import Side
from ..declaration import ParameterError
from ..diagnostics import Snapshot, diagnostic_array
from ..rejections import InputRejected, Rejections
from .arm_topics import ArmTopics
from .camera import MovingCamera, NotYet
from .messages import observation
from .parameters import declare

SILENCE = 2.0
"""Seconds without hands after which diagnostics call them missing."""
RECENT = 3.0
"""Seconds for which diagnostics warn of a refusal."""
LONGEST_WAIT = 0.5
"""Seconds for which hands wait for TF where ``max_age`` allows any."""


class TeleopNode(Node):
    """Topics, services and parameters are in docs/teleoperation.md."""

    def __init__(self):
        """:raises ParameterError, ValueError, ImportError: a parameter, a robot hand or a package cannot be used."""
        super().__init__("wildhands_teleop")
        self.parameters = declare(self)
        self._refusals, self._frames, self._heard, self._stamp = Rejections(), 0, -np.inf, -np.inf
        self._intervals: deque[float] = deque(maxlen=10)
        self._waiting: deque[tuple[float, HandArray]] = deque()
        """Hands for whose time TF has not come yet, with the time at which they are given up."""
        self._frame_id = self.parameters.target_frame
        """Of the commands; empty as long as it is not known."""
        self._tf = None
        if self.parameters.target_frame and self.parameters.camera is None:
            self._tf = MovingCamera(self, self.parameters.target_frame)
        self._arms = [ArmTopics(self, Side(name), self.parameters) for name in dict.fromkeys(self.parameters.sides)]
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(
            HandArray, "hands", self._on_hands, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        )
        # Not the node's clock: a simulated one may stand still, and the watchdog must not.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / self.parameters.rate, self._tick, clock=steady)
        self.create_timer(1.0, self._once_a_second, clock=steady)

    def refuse(self, refusal: InputRejected) -> None:
        """Counts an input that is not used, and says so now and then."""
        if self._refusals.add(refusal, time.monotonic()):
            self.get_logger().warning(f"{refusal.name}: {refusal}")

    def frame_fault(self, frame_id: str) -> str:
        """Why a pose in this frame cannot be used; empty where it can."""
        if not self._frame_id:
            return "and before the first hands the camera's frame, in which commands are sent, is unknown: set target_frame"
        if frame_id != self._frame_id:
            return f"but commands are sent in {self._frame_id!r}: set target_frame to the frame of robot_pose"
        return ""

    def _on_hands(self, message: HandArray) -> None:
        now, stamp = time.monotonic(), Time.from_msg(message.header.stamp).nanoseconds / 1e9
        if self._frames:
            self._intervals.append(now - self._heard)
        if stamp < self._stamp - 1.0:  # a bag that begins anew
            self._waiting.clear()
            if self._tf is not None:
                self._tf.clear()
        self._heard, self._stamp, self._frames = now, stamp, self._frames + 1
        self._frame_id = self.parameters.target_frame or message.header.frame_id
        longest = self.parameters.max_age
        try:
            age = self._checked_age(message)
        except InputRejected as refusal:
            self.refuse(refusal)
            self._give([], message)
        else:
            self._waiting.append((now + (longest - age if longest else LONGEST_WAIT), message))
            self._use_waiting()

    def _use_waiting(self) -> None:
        """Gives the arms the hands, in order, as far as TF has come."""
        while self._waiting:
            deadline, message = self._waiting[0]
            try:
                hands = self._hands(message)
            except InputRejected as refusal:
                if isinstance(refusal, NotYet) and time.monotonic() <= deadline:
                    return
                self.refuse(refusal)
                hands = []
            self._waiting.popleft()
            self._give(hands, message)

    def _give(self, hands: list[HandObservation], message: HandArray) -> None:
        for arm in self._arms:
            arm.frame(hands, message.header.stamp, self._frame_id)

    def _checked_age(self, message: HandArray) -> float:
        """Seconds since the image was taken.

        :raises InputRejected: too many.
        """
        age = (self.get_clock().now() - Time.from_msg(message.header.stamp)).nanoseconds / 1e9
        longest = self.parameters.max_age
        if longest and not -longest <= age <= longest:
            text = f"the hands are {age:.2f} s old (max_age {longest:g} s): a slow estimator, or clocks that differ"
            raise InputRejected("stale", text)
        return age

    def _hands(self, message: HandArray) -> list[HandObservation]:
        """In the target frame.

        :raises NotYet: TF has not come so far.
        :raises InputRejected: they cannot be used.
        """
        camera = self._camera(message)
        self._checked_age(message)  # anew: it may have waited for TF
        if message.intrinsics_source == HandArray.INTRINSICS_GUESS:
            text = "the camera's intrinsics are guessed: motions are not to scale; calibrate the camera"
            self.refuse(InputRejected("guess", text))
        found = [observation(hand) for hand in message.hands]
        if None in found:
            self.refuse(InputRejected("broken_hand", "a hand without a side or with a broken pose"))
        return [hand.seen_from(camera) for hand in found if hand is not None]

    def _camera(self, message: HandArray) -> Pose:
        """The camera's pose in the target frame.

        :raises NotYet: it is not known yet.
        :raises InputRejected: it is unknown.
        """
        if not self.parameters.target_frame:
            return Pose(np.zeros(3), Rotation.identity())
        return self.parameters.camera if self._tf is None else self._tf(message.header)

    def _tick(self) -> None:
        self._use_waiting()
        for arm in self._arms:
            arm.tick(self._frame_id)

    def _once_a_second(self) -> None:
        values = {"frames": str(self._frames), "last refusal": self._refusals.last_message}
        values |= {f"rejected: {name}": str(count) for name, count in sorted(self._refusals.counts.items())}
        for topics in self._arms:
            side = topics.side.value
            values |= {f"{side} arm": topics.arm.status, f"{side} hands doubtful": str(topics.arm.rejected)}
        warnings = self._warnings(time.monotonic())
        level = DiagnosticStatus.WARN if warnings else DiagnosticStatus.OK
        text = "; ".join(warnings or (f"{topics.side.value} arm {topics.arm.status}" for topics in self._arms))
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(
            diagnostic_array(Snapshot(level, text, values), name, self.get_clock().now().to_msg())
        )

    def _warnings(self, now: float) -> list[str]:
        warnings = self._refusals.since(now - RECENT)
        interval = float(np.median(self._intervals)) if self._intervals else 0.0
        if now - self._heard > SILENCE:
            warnings.insert(0, f"no hands arrive on {self.resolve_topic_name('hands')}")
        elif interval > self.parameters.watchdog:
            text = (
                f"hands come every {interval:.2g} s, less often than watchdog ({self.parameters.watchdog:g} s) allows: "
            )
            warnings.append(text + "raise watchdog, or speed up the estimator")
        return warnings


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
