"""The wildhands node: lifecycle, services and parameters. pipeline.py processes the images in another thread."""

from __future__ import annotations

if __name__ == "__main__":  # Before the imports, which take seconds: a signal may arrive meanwhile.
    from wildhands_ros.ros.process import run

    run("wildhands_ros.ros.node")

import contextlib
import ctypes
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, ROSClock
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection2DArray

from . import process
from .cameras import Cameras
from .declaration import ParameterError
from .depth_input import DepthInput
from .diagnostics import TYPE_CONFLICT, Health, NodeStatus, diagnostic_array
from .hand_saver import offer_save_hand
from .inputs import Inputs, image_topic, other_topics
from .lifecycle import ManagedNode
from .loader import Loader, make_estimator
from .name_conflicts import NameConflicts
from .outputs import Outputs
from .pairing import ImageMessage
from .parameters import Parameters, declare
from .pipeline import InputFrame, Pipeline
from .spinning import spin_until_signal
from .type_conflicts import type_conflicts
from .worker import Worker

if TYPE_CHECKING:
    from ..estimator import Estimator

DIAGNOSTICS_PERIOD = 1.0
"""Seconds between two diagnostics messages."""
M_ARENA_MAX = -8
"""From glibc's malloc.h."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class WildHandsNode(ManagedNode):
    """Estimates the hands in the images of one camera; docs/wildhands_node.md describes it.

    There are five kinds of threads: the executor's (services, transitions, timers), the receiver's (images, CameraInfo
    and detections), the worker's (loading, frames, freeing), the publisher's (the messages of a frame while the worker
    estimates the next one) and those of DDS. In the executor's thread only transitions that load the model wait for the
    worker, and they do so as coroutines.
    """

    def __init__(self, make_estimator: Callable[[Parameters], Estimator] = make_estimator, **options: Any):
        """Creates the node. With the parameter autostart it activates itself as soon as it is spun.

        Call ``close`` before ``destroy_node``.

        Args:
            make_estimator: creates the estimator in the worker's thread.
            **options: keyword arguments of rclpy's Node.

        Raises:
            ParameterError: a parameter has a value that cannot be used.
        """
        super().__init__("wildhands", **options)
        self.parameters = declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._health = Health(self.get_logger().warning)
        self._name_conflicts = NameConflicts(self, self._health)
        self._worker, self._publisher = Worker("wildhands worker"), Worker("wildhands publisher")
        self._loader = Loader(make_estimator, self._worker, self._health, self.get_logger().fatal)
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._depth: DepthInput | None = None
        self._pipeline: Pipeline | None = None
        self._cameras = Cameras(self.resolve_topic_name("camera_info"), self._health)
        self._enabled = True
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset_tracks", self._on_reset_tracks)
        offer_save_hand(self, lambda: self._pipeline.hand_lengths if self._pipeline is not None else None)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: simulated time may stand still, and that is when diagnostics matter.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD, self._on_diagnostics_timer, clock=steady)
        if self.parameters.autostart:
            self.autostart(steady)

    def close(self, timeout: float | None = None) -> None:
        """Frees everything except the node itself.

        Args:
            timeout: seconds to wait for the frame in work or for loading to end; None: as long as it takes.
        """
        self._stop_working()
        self._loader.release()
        self._loader.free()
        self._worker.stop(timeout)
        self._publisher.stop(timeout)

    # Transitions

    @property
    def bond_period(self) -> float:
        return self.parameters.bond_heartbeat_period

    def prepare(self, transition: int) -> Future | None:
        loads = transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
        return self._loader.begin(self.parameters) if loads else None

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._loader.get(self.parameters) is None:
            return FAILURE
        self._enabled = True
        self._cameras = Cameras(self.resolve_topic_name("camera_info"), self._health)
        self._outputs = Outputs(self, self._health)
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        estimator = self._loader.get(self.parameters)
        if estimator is None or self._outputs is None:
            return FAILURE
        self._outputs.set_estimator(estimator)
        if self._enabled:
            self._start_working(estimator, self._outputs)
        self.get_logger().info("ready")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_working()
        self._loader.release()
        self._after_callback(self._loader.free)
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_deactivate(state)
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        self._health.set_failure("")
        return SUCCESS

    on_shutdown = on_error = on_cleanup
    """An error ends in the state unconfigured, from which the node can be configured again."""

    def _on_estimator_broken(self) -> None:
        """Replaces the estimator. Called in the worker's thread."""
        if self.executor is not None:
            self.executor.create_task(self.restart)

    def _after_callback(self, callback: Callable[[], None]) -> None:
        """Runs ``callback`` in the executor once the response of the current callback has been sent.

        Without an executor it runs at once.
        """
        if self.executor is not None:
            self.executor.create_task(callback)
        else:
            callback()

    # Starting and stopping the processing of images

    def _start_working(self, estimator: Estimator, outputs: Outputs) -> None:
        smoothing_frame = self.parameters.smoothing__frame
        self._depth = DepthInput(self, self.parameters, self._health) if self.parameters.depth == "auto" else None
        self._pipeline = Pipeline(
            self,
            estimator,
            self._cameras,
            outputs,
            self._health,
            smoothing_frame,
            self._depth,
            self._publisher,
            self._on_estimator_broken,
        )
        self._worker.submit(self._pipeline.reset)
        self._health.stream_started()
        on_detections = self._pipeline.external_detections.add
        self._inputs = Inputs(self, self.parameters, self._health, self._on_image, self._on_camera_info, on_detections)

    def _stop_working(self) -> None:
        """Ends subscriptions and publishing; the result of the current frame is discarded."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._pipeline is not None:
            self._pipeline.stop()
            self._pipeline = None
        if self._depth is not None:
            self._depth.close()
            self._depth = None
        self._name_conflicts.close()
        self._worker.drop_frame()

    # Callbacks

    def _on_image(self, message: ImageMessage, detections: Detection2DArray | None) -> bool:
        pipeline = self._pipeline
        if pipeline is None:
            return False
        frame = InputFrame(message, time.monotonic(), detections, self.parameters)
        return self._worker.put_frame(partial(pipeline.process, frame))

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._cameras.add(message)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Pauses or resumes at once; the model stays loaded."""
        self._enabled = request.data
        response.success, response.message = True, "enabled" if request.data else "paused"
        if self.state_label != "active":
            response.message += f"; takes effect once the node is active (now: {self.state_label})"
        elif request.data and self._inputs is None:
            estimator = self._loader.get(self.parameters)
            if estimator is not None and self._outputs is not None:
                self._start_working(estimator, self._outputs)
        elif not request.data:
            self._stop_working()
        return response

    def _on_reset_tracks(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._pipeline is not None:
            self._worker.submit(self._pipeline.reset)
            self._health.tracks_reset("requested")
        response.success, response.message = True, "all tracks are reset"
        return response

    def _on_set_parameters(self, items: list[Parameter]) -> SetParametersResult:
        try:
            self.parameters = self.parameters.changed(
                {item.name: item.value for item in items}, self.state_label != "unconfigured"
            )
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_diagnostics_timer(self) -> None:
        if self._inputs is not None:
            self._inputs.check_publishers()
            self._name_conflicts.check(self.parameters)
            self._health.set_warning(TYPE_CONFLICT, "; ".join(type_conflicts(self)))
        topic = image_topic(self, self.parameters)
        publishers = self.count_publishers(topic)
        if self.parameters.intrinsics == "camera_info" and not self._cameras.has_info:
            self._cameras.offered = other_topics(
                self, "sensor_msgs/msg/CameraInfo", self.resolve_topic_name("camera_info")
            )
        clock = self.get_clock()
        now = clock.now()
        status = NodeStatus(
            state=self.state_label,
            enabled=self._enabled,
            image_topic=topic,
            image_publishers=publishers,
            offered_images=() if publishers else self._other_images(topic),
            clock_missing=isinstance(clock, ROSClock) and clock.ros_time_is_active and not now.nanoseconds,
            subscribers=self._outputs.subscribers() if self._outputs is not None else {},
        )
        snapshot = self._health.snapshot(status, self.parameters)
        self._diagnostics.publish(diagnostic_array(snapshot, self.get_fully_qualified_name().lstrip("/"), now.to_msg()))

    def _other_images(self, topic: str) -> tuple[str, ...]:
        kind = "CompressedImage" if self.parameters.image_transport == "compressed" else "Image"
        return other_topics(self, f"sensor_msgs/msg/{kind}", topic)


def use_one_heap() -> None:
    """Makes all threads of this process share one heap.

    glibc gives each thread its own, and memory freed in one is not reused in another, so that each reload of the model
    would cost 40 MB.
    """
    with contextlib.suppress(OSError, AttributeError):  # Not glibc.
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, 1)


def main(arguments: list[str] | None = None, make_estimator: Callable[[Parameters], Estimator] = make_estimator) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Args:
        arguments: ROS arguments; None to use those of the command line.
        make_estimator: creates the estimator in the worker's thread.

    Returns:
        The exit code.
    """
    use_one_heap()
    return spin_until_signal(
        "wildhands_node",
        partial(WildHandsNode, make_estimator),
        arguments,
        lambda node: node.close(process.CLOSING_TIME),
    )
