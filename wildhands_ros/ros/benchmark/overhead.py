"""Measures what the node adds to the estimator: decoding the image message, building and publishing the outputs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
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
from ..shutdown import shut_down
from ..transforms import TransformBuilder

LISTENER_TIMEOUT = 30.0
"""Seconds to wait for the listener's subscriptions."""
STEPS = ("decode", "build", "publish", "transforms", "markers")


def run_overhead(clip: Clip, estimates: Sequence[FrameEstimate]) -> dict[str, list[float]]:
    """Measures the node's steps with a listener in another process.

    Args:
        clip: an image of it is decoded.
        estimates: the hands to publish.

    Returns:
        The seconds of each of ``STEPS`` for each frame with hands.
    """
    rclpy.init()
    try:
        node = rclpy.create_node("bench_overhead")
        with _listener():
            return _measure(node, clip, [estimate for estimate in estimates if estimate.hands])
    finally:
        shut_down()


def _measure(node: Node, clip: Clip, estimates: Sequence[FrameEstimate]) -> dict[str, list[float]]:
    hands = node.create_publisher(HandArray, "overhead/hands", 10)
    tf = node.create_publisher(TFMessage, "overhead/tf", 100)
    marker_array = node.create_publisher(MarkerArray, "overhead/markers", 1)
    _wait_for_listener((hands, tf, marker_array))
    markers, transforms = MarkerBuilder({side: open_hand(side).faces for side in Side}), TransformBuilder()
    header = Header(frame_id="camera")
    image = encode_image(clip.frames[0], header)
    seconds: dict[str, list[float]] = defaultdict(list)
    for estimate in estimates:
        header.stamp = node.get_clock().now().to_msg()
        times = [time.perf_counter()]
        decode_image(image)
        times.append(time.perf_counter())
        message = hand_array(estimate, header, IntrinsicsSource.CAMERA_INFO, "open")
        times.append(time.perf_counter())
        hands.publish(message)
        times.append(time.perf_counter())
        tf.publish(transforms.build(estimate.hands, header))
        times.append(time.perf_counter())
        marker_array.publish(markers.build(estimate.hands, header))
        times.append(time.perf_counter())
        for step, duration in zip(STEPS, np.diff(times).tolist(), strict=True):
            seconds[step].append(duration)
        time.sleep(1 / 60)  # so that the listener keeps up
    return dict(seconds)


def overhead_ms(steps: Mapping[str, Sequence[float]], pose: Sequence[float]) -> float:
    """Returns the milliseconds per frame of everything except finding, predicting and fitting hands, without markers.

    Args:
        steps: what ``run_overhead`` returned.
        pose: seconds of posing the meshes.
    """
    medians = [np.median(seconds) for step, seconds in steps.items() if step != "markers"]
    return round(1e3 * float(sum(medians) + np.median(pose)), 3)


def frame_ms(stages: Mapping[str, Sequence[float]], steps: Mapping[str, Sequence[float]]) -> float:
    """Returns the milliseconds of a whole frame, from the image message to the published hands, without markers.

    Args:
        stages: seconds of the estimator's stages, by their names in ``FrameEstimate.seconds``.
        steps: what ``run_overhead`` returned.
    """
    estimator = np.median(np.sum(list(stages.values()), axis=0))
    return 1e3 * float(estimator + sum(np.median(seconds) for step, seconds in steps.items() if step != "markers"))


def markers_ms(steps: Mapping[str, Sequence[float]]) -> float:
    """Returns the milliseconds per frame of the markers."""
    return round(1e3 * float(np.median(steps["markers"])), 3)


def _wait_for_listener(publishers: Sequence[Publisher]) -> None:
    deadline = time.monotonic() + LISTENER_TIMEOUT
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.monotonic() > deadline:
            raise RuntimeError("the benchmark's listener process was not discovered over DDS")
        time.sleep(0.05)


@contextmanager
def _listener() -> Iterator[subprocess.Popen[str]]:
    with child_process([sys.executable, "-m", "wildhands_ros.ros.benchmark.overhead"]) as listener:
        yield listener


def _listen() -> None:
    rclpy.init()
    node = rclpy.create_node("bench_listener")
    for message_type, topic in ((HandArray, "hands"), (TFMessage, "tf"), (MarkerArray, "markers")):
        node.create_subscription(message_type, f"overhead/{topic}", lambda _: None, 10, raw=True)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        shut_down()


if __name__ == "__main__":
    _listen()
