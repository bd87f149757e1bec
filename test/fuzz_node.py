"""Sends damaged messages to the running nodes over DDS: ``python test/fuzz_node.py --count 20000``."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from fuzz_mutations import mutated
from fuzz_readers import picture, sample_messages
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message, serialize_message
from reliable_node import EVERYTHING
from ros_graph import Client, NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from several_cameras import CAMERA, POSES, TrueHand
from std_msgs.msg import Header
from test_depth_input import MILLIMETRES, raw
from vision_msgs.msg import Detection2DArray

from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.io.extrinsics_files import Extrinsics, save_extrinsics
from wildhands_ros.io.images import encode_image
from wildhands_ros.msg import HandArray
from wildhands_ros.ros import images
from wildhands_ros.ros.messages import hand_array
from wildhands_ros.types import FrameEstimate

RELIABLY, FAKE_PROGRAM = (str(Path(__file__).with_name(name)) for name in ("reliable_node.py", "live_node.py"))
_NODE = "wildhands"
"""Name of the node in the diagnostics."""
_UNACKNOWLEDGED = 1000
"""Messages of a topic that are sent before the middleware must have delivered them. A reader keeps up to 5000, and
acknowledges every three seconds only."""
_PATIENCE = Duration(seconds=60)


@dataclass(frozen=True)
class Target:
    """A node, and the topics on which damaged messages are sent to it."""

    start: Callable[[Path], NodeProcess]
    """Starts the node, given its log."""
    topics: Mapping[str, tuple[str, type]]
    """Topic and type by the name of the sample, see ``fuzz_readers.sample_messages``."""
    output: tuple[str, type]
    """What the node must publish when valid messages arrive."""
    publish_valid: Callable[[Mapping[str, Any], Any], None]
    """Publishes valid messages, given the publishers by name and the present time."""
    counted: str = ""
    """The sample whose messages the node counts in its diagnostics as "frames received"."""


def _start_node(log: Path) -> NodeProcess:
    """Starts wildhands_node with a fake estimator, which leaves only what reads messages."""
    parameters = {"intrinsics": "camera_info", "image_transport": "compressed", "detector__type": "tracks"}
    return NodeProcess(log, program=(RELIABLY, FAKE_PROGRAM, str(log.with_name("nothing"))), **parameters)


def _publish_image(publishers: Mapping[str, Any], now: Any) -> None:
    # The frame of the CameraInfo: after enough images in it the node rejects those in another one.
    image = CompressedImage(format="jpeg", header=Header(frame_id="camera_optical"))
    image.data.frombytes(encode_image(picture(640, 480), ".jpg"))
    publishers["camera_info"].publish(_samples()["camera_info"][0])
    publishers["compressed"].publish(image)


def _start_raw(log: Path) -> NodeProcess:
    """Starts the same node for images without compression, and depth images."""
    parameters = {"intrinsics": "camera_info", "image_transport": "raw", "detector__type": "tracks", "depth": "auto"}
    return NodeProcess(log, program=(RELIABLY, FAKE_PROGRAM, str(log.with_name("nothing"))), **parameters)


def _publish_raw(publishers: Mapping[str, Any], now: Any) -> None:
    for name in ("camera_info", "camera_info.depth"):
        publishers[name].publish(_samples()["camera_info"][0])
    publishers["depth"].publish(_samples()["depth"][0])
    publishers["image"].publish(images.encode_image(picture(640, 480), Header(frame_id="camera_optical")))


def _start_fusion(log: Path) -> NodeProcess:
    file = log.with_name("extrinsics.yaml")
    save_extrinsics(file, Extrinsics("world", {"a": POSES["left"], "b": POSES["right"]}))
    return NodeProcess(
        log, program=(RELIABLY, "wildhands_ros.ros.fusion.node"), cameras="[a,b]", extrinsics=str(file), max_age=0.0
    )


def _hands(now: Any, name: str = "left") -> HandArray:
    frame = FrameEstimate((TrueHand(1).seen_by(POSES[name], np.random.default_rng(0)),), CAMERA)
    return hand_array(
        frame, Header(stamp=now, frame_id=name), IntrinsicsSource.CAMERA_INFO, "open_hand", vertices=False
    )


def _publish_hands(publishers: Mapping[str, Any], now: Any) -> None:
    for name, publisher in publishers.items():
        if name.startswith("hands"):
            publisher.publish(_hands(now))


def _start_teleop(log: Path) -> NodeProcess:
    return NodeProcess(log, program=(RELIABLY, "wildhands_ros.ros.teleop.node"), max_age=0.0)


TARGETS = {
    "node": Target(
        _start_node,
        {
            "compressed": ("image/compressed", CompressedImage),
            "camera_info": ("camera_info", CameraInfo),
            "detections": ("detections", Detection2DArray),
        },
        ("hands", HandArray),
        _publish_image,
        "compressed",
    ),
    "fusion": Target(
        _start_fusion,
        {"hands": ("a/hands", HandArray), "hands.other": ("b/hands", HandArray)},
        ("hands", HandArray),
        _publish_hands,
    ),
    "teleop": Target(
        _start_teleop,
        {"hands": ("hands", HandArray), "robot_pose": ("teleop/right/robot_pose", PoseStamped)},
        ("/teleop/right/wrist", PoseStamped),
        _publish_hands,
    ),
    "raw": Target(
        _start_raw,
        {
            "image": ("image", Image),
            "camera_info": ("camera_info", CameraInfo),
            "depth": ("depth", Image),
            "camera_info.depth": ("depth_camera_info", CameraInfo),
        },
        ("hands", HandArray),
        _publish_raw,
        "image",
    ),
}


@cache
def _samples() -> dict[str, list[bytes]]:
    """Valid messages by topic."""
    samples = defaultdict(list)
    for name, data in sample_messages():
        samples[name.partition(".")[0]].append(data)
    samples["hands"].append(serialize_message(_hands(Time(sec=1000))))
    samples["depth"] = [serialize_message(raw(MILLIMETRES)), serialize_message(raw(MILLIMETRES, padding=6))]
    return samples


@dataclass
class Sent:
    """What was sent to a node."""

    messages: int = 0
    readable: int = 0
    """Messages of the counted topic that the middleware can read."""
    received: int = 0
    """Messages of that topic that the node has counted."""

    def __str__(self) -> str:
        counted = f", {self.received} images arrived of {self.readable} that are readable" if self.readable else ""
        return f"{self.messages} messages, the node is alive{counted}"


def send_damaged(target: Target, node: NodeProcess, client: Client, count: int, first: int = 0) -> Sent:
    """Sends ``count`` damaged messages on each topic, then valid ones until the node publishes its output.

    Raises:
        AssertionError: the node has ended, or publishes nothing after the last message.
    """
    output, kind = target.output
    client.listen(output, kind)
    client.listen("/diagnostics", DiagnosticArray)
    publishers = {
        name: client.node.create_publisher(kind, topic, EVERYTHING) for name, (topic, kind) in target.topics.items()
    }
    client.until(lambda: all(p.get_subscription_count() for p in publishers.values()), "the node subscribes", 120)
    sent = Sent()
    for number in range(first, first + count):
        rng = random.Random(number)
        for name, publisher in publishers.items():
            data = rng.choice(_samples()[name.partition(".")[0]])
            # The first bytes say how the rest is encoded, and are the middleware's.
            data = data[:4] + mutated(data[4:], rng)
            publisher.publish(data)
            sent.messages += 1
            sent.readable += name == target.counted and _is_readable(data, target.topics[name][1])
        if number % _UNACKNOWLEDGED == 0:
            for name, publisher in publishers.items():
                assert publisher.wait_for_all_acked(_PATIENCE), f"{name} takes no messages"
        assert node.process.poll() is None, f"the node ended at message {number}:\n{node.output[-3000:]}"
    if target.counted:
        count_received = lambda: int(client.diagnostics(_NODE).get("frames received", 0))  # noqa: E731
        client.until(lambda: count_received() >= sent.readable, "all messages arrive", 120)
        sent.received = count_received()
    client.received[output].clear()
    client.until(
        lambda: client.received[output],
        f"{output} after the damage",
        60,
        lambda: target.publish_valid(publishers, client.node.get_clock().now().to_msg()),
    )
    assert node.process.poll() is None
    return sent


def _is_readable(data: bytes, kind: type) -> bool:
    try:
        deserialize_message(data, kind)
    except Exception:  # whatever the middleware raises
        return False
    return True


def main() -> int:
    """Starts the node and sends the messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"{', '.join(TARGETS)}; default: all")
    parser.add_argument("--count", type=int, default=20_000, help="messages on each topic")
    parser.add_argument("--first", type=int, default=0, help="number of the first message")
    args = parser.parse_args()
    for name in args.targets or TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            node, client = TARGETS[name].start(Path(folder) / "log"), Client()
            try:
                sent = send_damaged(TARGETS[name], node, client, args.count, args.first)
                print(f"{name}: {sent}", flush=True)
            finally:
                client.close()
                node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
