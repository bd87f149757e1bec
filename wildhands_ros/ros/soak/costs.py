"""``wildhands node-costs``: measures how fast services answer, and the cost of idling, markers and transforms."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import Executor
from rclpy.node import Node
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...benchmark.machine import cpu_seconds
from ...estimator import Estimator
from ...geometry.calibration import IntrinsicsSource
from ...io.files import OutputFile
from ...io.progress import LOADING, busy
from ..diagnostics import Health
from ..markers import MarkerBuilder
from ..messages import hand_array
from ..outputs import Outputs
from ..transforms import TransformBuilder
from .demo_robot import START_TIMEOUT, demo_robot, load_demo_images, start_node
from .robot import Robot

NUM_CALLS = 20
IDLE_SECONDS = 10.0
NUM_FRAMES = 300


def measure_costs(json_file: Path | None) -> int:
    """Prints the figures, writes them to a file and returns the exit code."""
    with OutputFile(json_file) if json_file else nullcontext() as partial_file:
        with demo_robot() as robot:
            figures = _process_costs(robot) | _publishing_costs(robot.node, robot.executor)
        text = json.dumps(figures, indent=2)
        print(text)
        if partial_file:
            partial_file.write_text(text + "\n")
    return 0


def _process_costs(robot: Robot) -> dict[str, float]:
    """Measures the time until a service answers, with images at 30 Hz, and the CPU time of a deactivated node."""
    process = start_node()
    try:
        robot.rate = 5.0
        with busy(f"starting the node: {LOADING}"):
            robot.spin(lambda: robot.hands_received > 5, START_TIMEOUT)
        robot.rate = 30.0
        robot.wait_for_service(SetBool, "enable")
        robot.wait_for_service(ChangeState, "change_state")
        requests = [SetBool.Request(data=number % 2 == 1) for number in range(NUM_CALLS)]
        enable = [_timed(partial(robot.call, SetBool, "enable", request), robot) for request in requests]
        deactivate = []
        for _ in range(3):
            deactivate.append(_timed(lambda: robot.change_state(Transition.TRANSITION_DEACTIVATE), robot))
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
        "enable_ms_p50": float(np.percentile(enable, 50)),
        "enable_ms_max": max(enable),
        "deactivate_ms_p50": float(np.percentile(deactivate, 50)),
        "deactivate_ms_max": max(deactivate),
        "deactivated_cpu_percent": 100 * idle,
    }


def _publishing_costs(node: Node, executor: Executor) -> dict[str, float]:
    """Measures this thread's CPU time in milliseconds for publishing a frame with two hands."""
    demo = load_demo_images()
    estimator = Estimator()
    frame = max((estimator(image, demo.camera) for image in demo.images[::5]), key=lambda frame: len(frame.hands))
    outputs = Outputs(node, Health(print))
    markers, transforms = MarkerBuilder(estimator.faces), TransformBuilder()
    header = Header(frame_id="camera")
    without_subscribers = _per_frame(lambda: outputs.markers.get_subscription_count())
    for message_type, topic in ((MarkerArray, "hands/markers"), (TFMessage, "/tf")):
        node.create_subscription(message_type, topic, lambda message: None, 1, raw=True)
    while not (outputs.markers.get_subscription_count() and outputs.tf.get_subscription_count()):
        executor.spin_once(timeout_sec=0.1)
    return {
        "hands": len(frame.hands),
        "markers_unheard_ms": without_subscribers,
        "markers_ms": _per_frame(lambda: outputs.markers.publish(markers.build(frame.hands, header))),
        "tf_ms": _per_frame(lambda: outputs.tf.publish(transforms.build(frame.hands, header))),
        "hands_ms": _per_frame(
            lambda: outputs.hands.publish(hand_array(frame, header, IntrinsicsSource.CAMERA_INFO, "open"))
        ),
    }


def _timed(call: Callable[[], object], robot: Robot) -> float:
    """Returns the milliseconds that a call takes, and lets the node process images for a moment."""
    start = time.perf_counter()
    call()
    took = 1e3 * (time.perf_counter() - start)
    robot.spin(lambda: False, 0.3)
    return took


def _per_frame(build_and_publish: Callable[[], object]) -> float:
    build_and_publish()
    start = time.thread_time()
    for _ in range(NUM_FRAMES):
        build_and_publish()
    return 1e3 * (time.thread_time() - start) / NUM_FRAMES
