"""What the node adds to the estimator: from image message to array, from estimates to messages on the wire."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import rclpy
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...benchmark.clip import Clip
from ...geometry.calibration import IntrinsicsSource
from ...hand_model.asset import open_hand
from ...msg import HandArray
from ...types import FrameEstimate, Side
from ..images import decode_image, encode_image
from ..isolated_graph import child_process
from ..markers import MarkerBuilder
from ..messages import hand_array
from ..transforms import TransformBuilder

_WAIT = 30.0
"""Seconds for the listener to be seen."""


def run_overhead(clip: Clip, estimates: Sequence[FrameEstimate]) -> dict[str, list[float]]:
    """Seconds of each step for each frame with hands, with a listener in another process: decode, build, publish, transforms, markers."""
    rclpy.init()
    try:
        node = rclpy.create_node("bench_overhead")
        with _listener():
            return _measure(node, clip, [estimate for estimate in estimates if estimate.hands])
    finally:
        rclpy.try_shutdown()


def _measure(node: Node, clip: Clip, estimates: Sequence[FrameEstimate]) -> dict[str, list[float]]:
    hands = node.create_publisher(HandArray, "overhead/hands", 10)
    tf = node.create_publisher(TFMessage, "overhead/tf", 100)
    marker_array = node.create_publisher(MarkerArray, "overhead/markers", 1)
    deadline = time.monotonic() + _WAIT
    while not all(publisher.get_subscription_count() for publisher in (hands, tf, marker_array)):
        if time.monotonic() > deadline:
            raise RuntimeError("the benchmark's listener is not seen over DDS")
        time.sleep(0.05)
    markers, transforms = MarkerBuilder({side: open_hand(side).faces for side in Side}), TransformBuilder()
    header = Header(frame_id="camera")
    image = encode_image(clip.frames[0], header)
    seconds: dict[str, list[float]] = defaultdict(list)
    for estimate in estimates:
        header.stamp = node.get_clock().now().to_msg()
        steps = [("start", time.perf_counter())]
        decode_image(image)
        steps.append(("decode", time.perf_counter()))
        message = hand_array(estimate, header, IntrinsicsSource.CAMERA_INFO, "open")
        steps.append(("build", time.perf_counter()))
        hands.publish(message)
        steps.append(("publish", time.perf_counter()))
        tf.publish(transforms.build(estimate.hands, header))
        steps.append(("transforms", time.perf_counter()))
        marker_array.publish(markers.build(estimate.hands, header))
        steps.append(("markers", time.perf_counter()))
        for (_, before), (name, after) in zip(steps, steps[1:], strict=False):
            seconds[name].append(after - before)
        time.sleep(1 / 60)  # the listener keeps up
    return dict(seconds)


def overhead_ms(seconds: dict[str, list[float]], mesh: Sequence[float]) -> tuple[float, float]:
    """Median milliseconds a frame of all but detector, network and fit, ``mesh`` (seconds) included; and of the markers on top."""
    steps = [np.median(seconds[name]) for name in ("decode", "build", "publish", "transforms")]
    return round(1e3 * float(sum(steps) + np.median(mesh)), 3), round(1e3 * float(np.median(seconds["markers"])), 3)


@contextmanager
def _listener() -> Iterator[subprocess.Popen]:
    with child_process([sys.executable, "-m", "wildhands_ros.ros.benchmark.overhead"]) as listener:
        yield listener


def _listen() -> None:
    rclpy.init()
    node = rclpy.create_node("bench_listener")
    for kind, topic in ((HandArray, "hands"), (TFMessage, "tf"), (MarkerArray, "markers")):
        node.create_subscription(kind, f"overhead/{topic}", lambda _: None, 10, raw=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    _listen()
