"""The fusion node, which receives the hands of several cameras and publishes one set of hands in a common frame.

It converts messages and looks up transforms; ``fitting.hand_fusion`` decides which hands are the same and fits them.
"""

from __future__ import annotations

if __name__ == "__main__":  # Before the imports, which take seconds: a signal may arrive meanwhile.
    from wildhands_ros.ros.process import run

    run("wildhands_ros.ros.fusion.node")

import time
from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ...fitting.extrinsics import ExtrinsicsMonitor, PairCorrection
from ...fitting.hand_fusion import FusionResult, HandFusion, ObservedHand
from ...geometry.pose import Pose
from ...hand_model.mano_files import load_hands
from ...io.extrinsics_files import Extrinsics
from ...io.hand_files import load_hand
from ...msg import HandArray
from ...runtime.threads import one_blas_thread
from ..camera_motion import CameraMotion, TransformUnavailable
from ..declaration import ParameterError
from ..diagnostics import Snapshot, diagnostic_array
from ..hand_saver import offer_save_hand
from ..lifecycle import ManagedNode
from ..rejections import InputRejected, Rejections, failure
from ..spinning import spin_until_signal
from ..stamps import nanoseconds
from ..surroundings import discovery_hint
from ..type_conflicts import type_conflicts
from .observations import check_array, observations
from .outputs import FusedOutputs
from .parameters import declare
from .synchroniser import Stamped, Synchroniser

_SHORTEST_TIMER = 100_000
"""Nanoseconds."""
SILENCE = 2.0
"""Seconds without hands after which diagnostics warn."""
RECENT = 3.0
"""Seconds for which diagnostics show a rejection."""
KEPT = 150
"""Number of residuals of each camera over which diagnostics report."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class _CameraInput:
    """What is known of one camera."""

    def __init__(self) -> None:
        self.messages = self.late = self.unusable = 0
        self.last_arrival = -float("inf")
        self.frame_id = ""
        self.misfits: deque[float] = deque(maxlen=KEPT)
        self.used: deque[bool] = deque(maxlen=KEPT)


class FusionNode(ManagedNode):
    """Fuses the hands of several cameras; docs/fusion.md describes its topics, services and parameters."""

    def __init__(self, **options: Any):
        """Creates the node. With the parameter autostart it activates itself as soon as it is spun.

        Args:
            **options: keyword arguments of rclpy's Node.

        Raises:
            ParameterError: a parameter has a value that cannot be used.
        """
        super().__init__("wildhands_fusion", **options)
        one_blas_thread()
        self.parameters = declare(self)
        self._rejections = Rejections()
        self._failure = ""
        self._fusion: HandFusion | None = None
        self._outputs: FusedOutputs | None = None
        self._extrinsics: Extrinsics | None = None
        self._motion: CameraMotion | None = None
        self._frame_id = self.parameters.frame
        self._monitor = ExtrinsicsMonitor()
        self._corrections: dict[tuple[str, str], PairCorrection] = {}
        self._cameras = {name: _CameraInput() for name in self.parameters.cameras}
        self._frames = self._fused = self._contradicting = 0
        self._synchroniser: Synchroniser[HandArray] | None = None
        self._inputs: list[Any] = []
        self._deadline: Any = None
        self.create_service(Trigger, "~/reset_tracks", self._on_reset_tracks)
        offer_save_hand(self, lambda: self._fusion.lengths if self._fusion is not None else None)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: simulated time may stand still, and that is when diagnostics matter.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._on_diagnostics_timer, clock=self._steady)
        if self.parameters.autostart:
            self.autostart(self._steady)

    # Transitions

    @property
    def bond_period(self) -> float:
        return self.parameters.bond_heartbeat_period

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._extrinsics = self.parameters.load_extrinsics()
            if self._extrinsics is None and not CameraMotion.is_available():
                raise ParameterError(
                    "the poses of the cameras are unknown: tf2_ros is not installed, and the parameter extrinsics is "
                    "empty; install tf2_ros, or set extrinsics to a file (wildhands calibrate-cameras)"
                )
            hand_model = load_hands(self.parameters.hand_model)
            saved = load_hand(self.parameters.hand) if self.parameters.hand else {}
        except (ValueError, OSError) as error:
            self._failure = f"no hands will be published: {' '.join(str(error).split())}"
            self.get_logger().fatal(self._failure)
            return FAILURE
        self._failure = ""
        if self._extrinsics is not None:
            self._frame_id = self._extrinsics.frame
        self._fusion = HandFusion(hand_model, self.parameters.known_lengths)
        self._fusion.lengths.start_from(saved)
        self._outputs = FusedOutputs(self, hand_model, self.parameters.smoothing)
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._extrinsics is None:
            self._motion = CameraMotion(self, self._frame_id)
        on_restart = self._motion.clear if self._motion is not None else lambda: None
        self._synchroniser = Synchroniser(
            self.parameters.cameras, self.parameters.tolerance, self.parameters.max_wait, on_restart
        )
        latest = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._inputs = [
            self.create_subscription(HandArray, f"{name}/hands", partial(self._on_hands, name), latest)
            for name in self.parameters.cameras
        ]
        # Wakes the node when messages have waited long enough for those of other cameras.
        self._deadline = self.create_timer(1.0, self._process, clock=self._steady)
        self._deadline.cancel()
        self.get_logger().info("ready")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._deadline is not None:
            self.destroy_timer(self._deadline)
            self._deadline = None
        if self._motion is not None:
            self._motion.close()
            self._motion = None
        self._synchroniser = None
        self._reset()
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_deactivate(state)
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        self._fusion = None
        self._failure = ""
        return SUCCESS

    on_shutdown = on_error = on_cleanup
    """An error ends in the state unconfigured, from which the node can be configured again."""

    def _reset(self) -> None:
        if self._fusion is not None:
            self._fusion.reset()
        if self._outputs is not None:
            self._outputs.reset()
        self._monitor.reset()
        self._corrections = {}

    # Callbacks

    def _reject(self, rejection: InputRejected) -> None:
        """Counts rejected input and logs it at a limited rate."""
        if self._rejections.add(rejection, time.monotonic()):
            self.get_logger().warning(f"{rejection.name}: {rejection}")

    def _on_reset_tracks(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset()
        response.success, response.message = True, "all tracks are reset"
        return response

    def _on_set_parameters(self, items: list[Parameter]) -> SetParametersResult:
        """Accepts new lengths of the hands at any time; all other parameters are read-only."""
        values = {item.name: item.value for item in items if item.name in ("hand", "hand_length")}
        parameters = replace(self.parameters, **values)
        try:
            saved = load_hand(parameters.hand) if parameters.hand else {}
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._fusion is not None:
            self._fusion.lengths.give(parameters.known_lengths)
            if parameters.hand != self.parameters.hand:
                self._fusion.lengths.start_from(saved)
        self.parameters = parameters
        return SetParametersResult(successful=True)

    def _on_hands(self, name: str, message: HandArray) -> None:
        if self._synchroniser is None:
            return
        camera, now = self._cameras[name], time.monotonic()
        camera.messages += 1
        camera.last_arrival = now
        try:
            self._check_source(name, camera, message)
        except InputRejected as rejection:
            self._reject(rejection)
            return
        stamp = nanoseconds(message.header.stamp) / 1e9
        camera.late += not self._synchroniser.add(name, Stamped(stamp, now, message))
        self._process()

    def _check_source(self, name: str, camera: _CameraInput, message: HandArray) -> None:
        """Checks where a message comes from and how old it is.

        Raises:
            InputRejected: it must not be used.
        """
        topic = self.resolve_topic_name(f"{name}/hands")
        if self.count_publishers(topic) > 1:
            raise InputRejected(
                "two_publishers",
                f"{self.count_publishers(topic)} nodes publish on {topic}, and their hands cannot be told apart: give "
                "each camera's node its own namespace",
            )
        if message.header.stamp.sec < 0:
            raise InputRejected("invalid_stamp", f"a stamp of camera {name} is {message.header.stamp.sec} s")
        max_age = self.parameters.max_age
        age = (self.get_clock().now() - Time.from_msg(message.header.stamp)).nanoseconds / 1e9
        if max_age and not -max_age <= age <= max_age:
            raise InputRejected(
                "stale_hands",
                f"the hands of camera {name} are {age:.2f} s old (max_age {max_age:g} s): its estimator is slow, or "
                "the clocks of the computers differ",
            )
        if camera.frame_id and camera.frame_id != message.header.frame_id:
            self._reset()  # Another camera has taken its place.
        camera.frame_id = message.header.frame_id

    def _process(self) -> None:
        """Fuses the hands of all moments that are complete."""
        if self._synchroniser is None:
            return
        while (group := self._synchroniser.next(time.monotonic())) is not None:
            self._fuse(group)
        deadline = self._synchroniser.deadline()
        self._deadline.cancel()
        if deadline is not None:
            left = round((deadline - time.monotonic()) * 1e9)
            self._deadline.timer_period_ns = max(left, _SHORTEST_TIMER)
            self._deadline.reset()

    def _fuse(self, group: dict[str, Stamped[HandArray]]) -> None:
        if self._fusion is None or self._outputs is None:
            return
        observed: dict[str, list[ObservedHand]] = {}
        for name, message in group.items():
            try:
                observed[name] = self._observed(name, message.item)
            except InputRejected as rejection:
                self._reject(rejection)
            except TransformUnavailable as error:
                self._reject(
                    InputRejected(
                        "no_transform",
                        f"the hands of camera {name} are not used: {error}; publish the camera's pose on TF, or set "
                        "the parameter extrinsics",
                    )
                )
        if not observed or not self._frame_id:
            return
        newest = max(group.values(), key=lambda message: message.stamp)
        try:
            result = self._fusion.update(newest.stamp, observed)
        except Exception as error:  # whatever the cameras have sent, the node goes on
            self._reject(failure(error))
            self._reset()
            return
        self._outputs.publish(
            result.hands, Header(stamp=newest.item.header.stamp, frame_id=self._frame_id), self.parameters
        )
        self._account(newest.stamp, result)

    def _observed(self, name: str, message: HandArray) -> list[ObservedHand]:
        """Returns the hands of a camera in the common frame.

        Raises:
            InputRejected: they cannot be used.
            TransformUnavailable: the pose of the camera is unknown.
        """
        assert self._outputs is not None
        camera = check_array(name, message, self._outputs.hand_model)
        if not self._frame_id:
            # Without a frame of its own, the node uses that of the first camera.
            if name != self.parameters.cameras[0]:
                raise InputRejected(
                    "no_frame",
                    f"the common frame is that of camera {self.parameters.cameras[0]}, which has sent nothing yet; set "
                    "the parameter frame if it is to work without it",
                )
            self._frame_id = message.header.frame_id
        usable, others = observations(message, camera, self._pose(name, message))
        self._cameras[name].unusable += others
        return usable

    def _pose(self, name: str, message: HandArray) -> Pose:
        if self._extrinsics is not None:
            return self._extrinsics.poses[name]
        if message.header.frame_id == self._frame_id:
            return Pose.identity()
        if self._motion is None:
            raise TransformUnavailable("TF is not listened to")
        return self._motion.pose_in(self._frame_id, message.header)

    def _account(self, stamp: float, result: FusionResult) -> None:
        self._frames += 1
        self._fused += sum(len(hand.views) > 1 for hand in result.hands)
        self._contradicting += result.contradicting
        for residual in result.residuals:
            camera = self._cameras[residual.camera]
            camera.misfits.append(residual.misfit)
            camera.used.append(residual.used)
        for views in result.shared:
            self._monitor.add(stamp, views)

    # Diagnostics

    def _on_diagnostics_timer(self) -> None:
        now = time.monotonic()
        self._corrections = self._monitor.corrections()
        level, text = self._verdict(now)
        name = self.get_fully_qualified_name().lstrip("/")
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(Snapshot(level, text, self._values(now)), name, stamp))

    def _values(self, now: float) -> dict[str, str]:
        values = {
            "state": self.state_label,
            "frame": self._frame_id or "unknown",
            "moments": str(self._frames),
            "hands of several cameras": str(self._fused),
            "hands that other cameras contradict": str(self._contradicting),
            "last rejection": self._rejections.last_message or "none",
        }
        for name, camera in self._cameras.items():
            misfit = f"{100 * np.median(camera.misfits):.1f} %" if camera.misfits else "unknown"
            agrees = f"{100 * np.mean(camera.used):.0f} %" if camera.used else "unknown"
            values |= {
                f"{name}: messages": str(camera.messages),
                f"{name}: too late": str(camera.late),
                f"{name}: unusable hands": str(camera.unusable),
                f"{name}: residual (of the hand's size)": misfit,
                f"{name}: agrees": agrees,
            }
        for (first, second), found in self._corrections.items():
            values[f"{first} and {second}: rays miss by (mm)"] = (
                f"{1000 * found.miss_before:.1f}, with corrected extrinsics {1000 * found.miss_after:.1f}"
            )
            values[f"{first} and {second}: extrinsics"] = _describe(found)
        if self._fusion is not None:
            for side, length in self._fusion.lengths.known().items():
                values[f"{side.value} hand length (mm)"] = f"{1000 * length.metres:.0f} +- {1000 * length.stddev:.0f}"
        values |= {f"rejected: {name}": str(count) for name, count in sorted(self._rejections.counts.items())}
        return values

    def _verdict(self, now: float) -> tuple[bytes, str]:
        """Returns level and message."""
        if self._failure:
            return DiagnosticStatus.ERROR, self._failure
        if self.state_label != "active":
            return DiagnosticStatus.OK, self.state_label
        warnings = self._rejections.since(now - RECENT)
        silent = [name for name, camera in self._cameras.items() if now - camera.last_arrival > SILENCE]
        if silent:
            topics = ", ".join(self.resolve_topic_name(f"{name}/hands") for name in silent)
            text = f"no hands arrive on {topics}: is the wildhands node of that camera running?"
            warnings.insert(0, text + discovery_hint())
        warnings += type_conflicts(self)
        for (first, second), found in self._corrections.items():
            if found.is_wrong:
                warnings.append(
                    f"the extrinsics of {first} and {second} are wrong ({_describe(found)}): a camera was moved, or "
                    "they were calibrated badly; run wildhands calibrate-cameras"
                )
        return (DiagnosticStatus.WARN, "; ".join(warnings)) if warnings else (DiagnosticStatus.OK, "running")


def _describe(found: PairCorrection) -> str:
    degrees, millimetres = np.degrees(np.linalg.norm(found.rotation)), 1000 * np.linalg.norm(found.shift)
    return f"off by about {degrees:.1f} degrees and {millimetres:.0f} mm" if found.is_wrong else "agree"


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Args:
        arguments: ROS arguments; None to use those of the command line.

    Returns:
        The exit code.
    """
    return spin_until_signal("wildhands_fusion", FusionNode, arguments)
