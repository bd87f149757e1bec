"""`wildhands node-costs`: how soon the node's services answer under load, and what idleness, markers and transforms cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...benchmark.machine import cpu_seconds
from ...estimator import Estimator
from ...geometry.calibration import IntrinsicsSource
from ..diagnostics import Health
from ..markers import MarkerBuilder
from ..messages import hand_array
from ..outputs import Outputs
from ..transforms import TransformBuilder
from .main import START_TIMEOUT, demo_pictures, demo_robot, start_node
from .robot import Robot

CALLS = 20
IDLE_SECONDS = 10.0
FRAMES = 300


def measure_costs(json_file: Path | None) -> int:
    """Prints and writes the figures; returns the exit code."""
    with demo_robot() as robot:
        figures = _of_the_process(robot) | _of_publishing(robot.node, robot.executor)
    text = json.dumps(figures, indent=2)
    print(text)
    if json_file:
        json_file.write_text(text + "\n")
    return 0


def _of_the_process(robot: Robot) -> dict[str, float]:
    """Wall time until a service's answer is here, with images at 30 Hz; CPU time while deactivated."""
    process = start_node()
    try:
        robot.rate = 5.0
        robot.spin(lambda: robot.hands_received > 5, START_TIMEOUT)
        robot.rate = 30.0
        robot.knows(SetBool, "enable")
        robot.knows(ChangeState, "change_state")
        requests = [SetBool.Request(data=number % 2 == 1) for number in range(CALLS)]
        pauses = [_timed(lambda request=request: robot.call(SetBool, "enable", request), robot) for request in requests]
        stops = []
        for _ in range(3):
            stops.append(_timed(lambda: robot.change_state(Transition.TRANSITION_DEACTIVATE), robot))
            robot.change_state(Transition.TRANSITION_ACTIVATE)
        robot.change_state(Transition.TRANSITION_DEACTIVATE)
        robot.spin(lambda: False, 2.0)
        before = cpu_seconds(process.pid)
        robot.spin(lambda: False, IDLE_SECONDS)
        idle = (cpu_seconds(process.pid) - before) / IDLE_SECONDS
    finally:
        process.terminate()
        process.wait(60)
    return {
        "enable_ms_p50": float(np.percentile(pauses, 50)),
        "enable_ms_max": max(pauses),
        "deactivate_ms_p50": float(np.percentile(stops, 50)),
        "deactivate_ms_max": max(stops),
        "deactivated_cpu_percent": 100 * idle,
    }


def _of_publishing(node: Node, executor: SingleThreadedExecutor) -> dict[str, float]:
    """CPU time of this thread for a frame with two hands, milliseconds."""
    pictures, camera = demo_pictures(640, 360, 30)
    estimator = Estimator()
    frame = max((estimator(picture, camera) for picture in pictures[::5]), key=lambda frame: len(frame.hands))
    outputs = Outputs(node, Health(print))
    markers, transforms = MarkerBuilder(estimator.faces), TransformBuilder()
    header = Header(frame_id="camera")
    alone = _per_frame(lambda: outputs.markers.get_subscription_count())
    for kind, topic in ((MarkerArray, "hands/markers"), (TFMessage, "/tf")):
        node.create_subscription(kind, topic, lambda message: None, 1, raw=True)
    while not (outputs.markers.get_subscription_count() and outputs.tf.get_subscription_count()):
        executor.spin_once(timeout_sec=0.1)
    return {
        "hands": len(frame.hands),
        "markers_unheard_ms": alone,
        "markers_ms": _per_frame(lambda: outputs.markers.publish(markers.build(frame.hands, header))),
        "tf_ms": _per_frame(lambda: outputs.tf.publish(transforms.build(frame.hands, header))),
        "hands_ms": _per_frame(
            lambda: outputs.hands.publish(hand_array(frame, header, IntrinsicsSource.CAMERA_INFO, "open"))
        ),
    }


def _timed(call: Callable[[], object], robot: Robot) -> float:
    """Milliseconds until the answer; then a moment of work."""
    start = time.perf_counter()
    call()
    took = 1e3 * (time.perf_counter() - start)
    robot.spin(lambda: False, 0.3)
    return took


def _per_frame(build_and_publish: Callable[[], object]) -> float:
    build_and_publish()
    start = time.thread_time()
    for _ in range(FRAMES):
        build_and_publish()
    return 1e3 * (time.thread_time() - start) / FRAMES
