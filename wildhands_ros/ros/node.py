"""The node's life: it is configured, activated, paused, deactivated; frames go through pipeline.py in another thread."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection2DArray

from .cameras import Cameras
from .declaration import ParameterError
from .diagnostics import Health, Situation, diagnostic_array
from .inputs import ImageMessage, Inputs, image_topic
from .lifecycle import ManagedNode
from .loader import Loader, make_estimator
from .name_conflicts import NameConflicts
from .outputs import Outputs
from .parameters import Parameters, declare
from .pipeline import Pipeline
from .smoothing import StreamSmoother
from .worker import Worker

if TYPE_CHECKING:
    from ..estimator import Estimator

DIAGNOSTICS_PERIOD = 1.0
"""Seconds."""
M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class WildHandsNode(ManagedNode):
    """docs/wildhands_node.md describes it.

    Three threads of control: the executor's (callbacks, services, transitions), the worker's (loading, frames, freeing), DDS's own. Nothing
    in the executor's waits for the worker but transitions that load, and those as coroutines.
    """

    def __init__(self, make_estimator: Callable[[Parameters], Estimator] = make_estimator, **options):
        """Takes rclpy's arguments of a node. With the parameter autostart it becomes active by itself once it is spun. ``close`` ends it.

        :raises ParameterError: a parameter's value cannot be used.
        """
        super().__init__("wildhands", **options)
        self.parameters = declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._health = Health(self.get_logger().warning)
        self._neighbours = NameConflicts(self, self._health)
        self._worker: Worker[tuple] = Worker(lambda frame: frame[0].work(*frame[1:]))
        self._loader = Loader(make_estimator, self._worker, self._health, self.get_logger().fatal)
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self._smoother: StreamSmoother | None = None
        self._pipeline: Pipeline | None = None
        self._cameras = Cameras(self.resolve_topic_name("camera_info"), self._health)
        self._enabled = True
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/reset_tracks", self._on_reset_tracks)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Not the node's clock: a simulated one may stand still, and that is when diagnostics matter.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD, self._look_around, clock=steady)
        if self.parameters.autostart:
            self._starter = self.create_timer(0.0, self._autostart, clock=steady, callback_group=self.waiting_group)

    def close(self) -> None:
        """Frees everything but the node itself; waits for the frame, or the loading, in work."""
        self._stop_working()
        self._loader.give_up()
        self._loader.free()
        self._worker.stop()

    # Transitions

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
        if estimator is None:
            return FAILURE
        self._outputs.describe(estimator)
        if self._enabled:
            self._start_working(estimator)
        self.get_logger().info("ready")
        return SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._stop_working()
        self._loader.give_up()
        self._later(self._loader.free)
        return SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_deactivate(state)
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        self._health.failed("")
        return SUCCESS

    on_shutdown = on_error = on_cleanup
    """An error ends in the unconfigured state, from which it can be tried again."""

    async def _autostart(self) -> None:
        self.destroy_timer(self._starter)
        if await self.change_state(Transition.TRANSITION_CONFIGURE):
            await self.change_state(Transition.TRANSITION_ACTIVATE)

    def _on_broken(self) -> None:
        """In the worker's thread."""
        self.executor.create_task(self._reload)

    def _later(self, callback: Callable[[], None]) -> None:
        """Has it done by the executor once the callback of now has ended and its answer is sent; at once where nobody spins the node."""
        if self.executor is not None:
            self.executor.create_task(callback)
        else:
            callback()

    async def _reload(self) -> None:
        """The estimator is broken: the way through the lifecycle makes it anew."""
        if await self.change_state(Transition.TRANSITION_DEACTIVATE):
            await self.change_state(Transition.TRANSITION_ACTIVATE)

    # What they are made of

    def _start_working(self, estimator: Estimator) -> None:
        self._smoother = StreamSmoother(self, self.parameters, estimator.hand_model, self._health)
        now = lambda: self.get_clock().now().nanoseconds  # noqa: E731
        self._pipeline = Pipeline(
            estimator, self._smoother, self._cameras, self._outputs, self._health, now, self.context.ok, self._on_broken
        )
        self._worker.submit(self._pipeline.reset)
        self._health.listening()
        self._inputs = Inputs(
            self, self.parameters, self._health, self._on_image, self._on_camera_info, self._pipeline.given.add
        )

    def _stop_working(self) -> None:
        """Nothing is listened to nor published any more; the frame in work comes to nothing."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._pipeline is not None:
            self._pipeline.stop()
            self._pipeline = None
        if self._smoother is not None:
            self._smoother.close()
            self._smoother = None
        self._neighbours.close()
        self._worker.forget_frame()

    # Callbacks

    def _on_image(self, message: ImageMessage, found: Detection2DArray | None) -> bool:
        pipeline = self._pipeline
        return pipeline is not None and self._worker.put((pipeline, message, time.monotonic(), found, self.parameters))

    def _on_camera_info(self, message) -> None:
        self._cameras.add(message)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Pauses and goes on at once: the model stays loaded."""
        self._enabled = request.data
        response.success, response.message = True, "enabled" if request.data else "paused"
        if self.state_label != "active":
            response.message += f", which counts once the node is active (now: {self.state_label})"
        elif request.data and self._inputs is None:
            self._start_working(self._loader.get(self.parameters))
        elif not request.data:
            self._stop_working()
        return response

    def _on_reset_tracks(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._pipeline is not None:
            self._worker.submit(self._pipeline.reset)
            self._health.restarted("requested")
        response.success, response.message = True, "all hands are forgotten"
        return response

    def _on_set_parameters(self, items: list[Parameter]) -> SetParametersResult:
        try:
            self.parameters = self.parameters.changed(
                {item.name: item.value for item in items}, self.state_label != "unconfigured"
            )
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _look_around(self) -> None:
        if self._inputs is not None:
            self._inputs.look_around()
            self._neighbours.look(self.parameters)
        topic = self.resolve_topic_name(image_topic(self.parameters))
        clock = self.get_clock()
        now = clock.now()
        stands_still = clock.ros_time_is_active and not now.nanoseconds
        listeners = self._outputs.listeners() if self._outputs is not None else {}
        situation = Situation(
            self.state_label, self._enabled, topic, self.count_publishers(topic), stands_still, listeners
        )
        snapshot = self._health.snapshot(situation, self.parameters)
        self._diagnostics.publish(diagnostic_array(snapshot, self.get_fully_qualified_name().lstrip("/"), now.to_msg()))


def _share_one_heap() -> None:
    """glibc gives threads heaps of their own, and one does not reuse what died in another: each model loaded anew would cost 40 MB."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, 1)


def main(arguments: list[str] | None = None, make_estimator: Callable[[Parameters], Estimator] = make_estimator) -> int:
    """Runs the node until SIGINT or SIGTERM; returns the exit code."""
    _share_one_heap()
    rclpy.init(args=arguments)
    node = None
    try:
        node = WildHandsNode(make_estimator)
        rclpy.spin(node)
    except ParameterError as error:
        print(f"wildhands_node: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():
            raise
        # A signal came in the middle of a callback, which then could not publish or answer any more.
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
