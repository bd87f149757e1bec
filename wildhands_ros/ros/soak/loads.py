"""Loads that a ``Robot`` puts on the node: for ``wildhands soak``, the tests and docs/faults.md."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from ...msg import HandArray
from .robot import Robot

MESSAGES_PER_SECOND = 1000
NODES = 50
WIDTH_8K, HEIGHT_8K = 7680, 4320
CALLS_AT_ONCE = 8
"""Service calls that wait for a response at the same time. ROS's services keep ten requests and drop older ones."""
CHANGES_PER_SECOND = 10
ANSWER_TIMEOUT = 60.0
"""Seconds for what is missing when the time of a load is over."""


@dataclass(frozen=True)
class Load:
    """One load and what the node does about it."""

    description: str
    reaction: str
    apply: Callable[[Robot, float], bool]
    """Applies the load for a number of seconds, and returns whether the node did what is promised."""


@dataclass(frozen=True)
class _Call:
    """One call of a service."""

    kind: type
    service: str
    request: Any
    check: Callable[[Any], bool] = lambda response: response is not None
    """Whether the response is the right one."""


def _flood(robot: Robot, seconds: float) -> bool:
    """Publishes images and CameraInfo in turn, as fast as this process can if that is slower."""
    before, robot.rate = robot.hands_received, MESSAGES_PER_SECOND / 2
    robot.spin(lambda: False, seconds)
    return robot.spin(lambda: robot.hands_received > before, ANSWER_TIMEOUT)


def _join(robot: Robot, seconds: float) -> bool:
    """Creates nodes with a participant each, which subscribe to the hands."""
    domain = robot.node.context.get_domain_id()
    before = robot.hands_received
    with ExitStack() as nodes:
        for number in range(NODES):
            context = rclpy.Context()
            rclpy.init(context=context, domain_id=domain)
            nodes.callback(rclpy.try_shutdown, context=context)
            node = rclpy.create_node(f"joining_{number}", context=context)
            nodes.callback(node.destroy_node)
            node.create_subscription(HandArray, f"{robot.namespace}/hands", lambda message: None, 1)
            robot.spin(lambda: False, seconds / NODES)
        return robot.spin(lambda: robot.hands_received > before, ANSWER_TIMEOUT)


def _show_8k(robot: Robot, seconds: float) -> bool:
    """Publishes two 8K images a second, with a CameraInfo that fits them."""
    data = array("B", bytes(3 * WIDTH_8K * HEIGHT_8K))
    camera = robot.camera
    scales = WIDTH_8K / camera.width, HEIGHT_8K / camera.height

    def enlarge(image: Image) -> None:
        image.width, image.height, image.step, image.data = WIDTH_8K, HEIGHT_8K, 3 * WIDTH_8K, data

    def enlarge_info(info: CameraInfo) -> None:
        info.width, info.height = WIDTH_8K, HEIGHT_8K
        for row, scale in enumerate(scales):
            for matrix, columns in ((info.k, 3), (info.p, 4)):
                matrix[row * columns : (row + 1) * columns] *= scale

    before = robot.count("resets: size_changed")
    robot.rate, robot.alter_image, robot.alter_info = 2.0, enlarge, enlarge_info
    robot.spin(lambda: False, seconds)
    return robot.spin(lambda: robot.count("resets: size_changed") > before, ANSWER_TIMEOUT)


def _call_services(robot: Robot, seconds: float) -> bool:
    """Calls the services in turn, always several at once."""
    pause, resume = (_Call(SetBool, "enable", SetBool.Request(data=data)) for data in (False, True))
    calls = (
        pause,
        _Call(Trigger, "reset_tracks", Trigger.Request()),
        _Call(GetState, "get_state", GetState.Request()),
        _Call(ListParameters, "list_parameters", ListParameters.Request()),
        _Call(GetParameters, "get_parameters", GetParameters.Request(names=["markers_max_rate", "nothing"])),
        resume,
    )
    answered = _answered(robot, seconds, cycle(calls), CALLS_AT_ONCE)
    return robot.call(resume.kind, resume.service, resume.request) is not None and answered


def _change_parameters(robot: Robot, seconds: float) -> bool:
    """Sets parameters, every third time to a value that is refused."""
    values = (("markers_max_rate", 5.0, True), ("diagnostics.min_rate", -1.0, False), ("markers_max_rate", 15.0, True))
    calls = [_setting(*each) for each in values]
    answered = _answered(robot, seconds, cycle(calls), 1, 1 / CHANGES_PER_SECOND)
    last = calls[-1]  # the default
    return robot.call(last.kind, last.service, last.request) is not None and answered


def _setting(name: str, value: float, is_possible: bool) -> _Call:
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    return _Call(
        SetParameters, "set_parameters", request, lambda response: response.results[0].successful == is_possible
    )


def _answered(robot: Robot, seconds: float, calls: Iterator[_Call], at_once: int, pause: float = 0.0) -> bool:
    """Makes service calls while images are published, and returns whether all get the response they should.

    Args:
        robot: makes the calls.
        seconds: how long.
        calls: what to call.
        at_once: calls that wait for their response at the same time, at most.
        pause: seconds between two calls.
    """
    waiting: list[tuple[_Call, Future]] = []
    wrong = due = 0.0
    end = time.monotonic() + seconds

    def collect() -> bool:
        """Takes the responses that have arrived, and returns whether none is missing."""
        nonlocal wrong
        wrong += sum(not call.check(future.result()) for call, future in waiting if future.done())
        waiting[:] = [each for each in waiting if not each[1].done()]
        return not waiting

    def call_next() -> bool:
        nonlocal due
        collect()
        if len(waiting) < at_once and time.monotonic() >= due:
            call = next(calls)
            waiting.append((call, robot.client(call.kind, call.service).call_async(call.request)))
            due = time.monotonic() + pause
        return time.monotonic() >= end

    # DDS drops the responses of services that are not yet matched.
    if not all(robot.wait_for_service(call.kind, call.service) for call in islice(calls, 6)):
        return False
    robot.spin(call_next, seconds + ANSWER_TIMEOUT)
    return robot.spin(collect, ANSWER_TIMEOUT) and not wrong


LOADS: dict[str, Load] = {
    "message_flood": Load(
        f"{MESSAGES_PER_SECOND} messages a second", "Keeps the newest image only; hands go on", _flood
    ),
    "joining_nodes": Load(f"{NODES} nodes join and leave", "Hands go on", _join),
    "images_8k": Load(
        "8K images (7680x4320)",
        "Estimates hands in them (`max_megapixels` refuses larger ones), and frees the memory afterwards",
        _show_8k,
    ),
    "service_calls": Load(f"Services are called without pause, {CALLS_AT_ONCE} at once", "Answers all", _call_services),
    "parameter_changes": Load(
        f"Parameters are set {CHANGES_PER_SECOND} times a second, a third of them to impossible values",
        "Takes or refuses each; hands go on",
        _change_parameters,
    ),
}
"""By name."""


def load_table() -> str:
    """Returns the table in docs/faults.md."""
    lines = ["| load | what the node does | tested as |", "|---|---|---|"]
    lines += [f"| {load.description} | {load.reaction} | `{name}` |" for name, load in LOADS.items()]
    return "\n".join(lines) + "\n"
