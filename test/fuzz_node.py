"""Sends damaged messages to the running node over DDS: ``python test/fuzz_node.py --count 20000``."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from fuzz_mutations import mutated
from fuzz_readers import picture, sample_messages
from ros_graph import Client, NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage
from vision_msgs.msg import Detection2DArray

from wildhands_ros.io.images import encode_image
from wildhands_ros.msg import HandArray

FAKE_PROGRAM = str(Path(__file__).with_name("live_node.py"))
TOPICS = {
    "compressed": ("image/compressed", CompressedImage),
    "camera_info": ("camera_info", CameraInfo),
    "detections": ("detections", Detection2DArray),
}
_AT_ONCE = 20
"""Messages that are sent before the client looks after the node again."""


def start_node(log: Path) -> NodeProcess:
    """Starts the node with a fake estimator, which leaves only what reads messages."""
    parameters = {"intrinsics": "camera_info", "image_transport": "compressed", "detector__type": "tracks"}
    return NodeProcess(log, program=(FAKE_PROGRAM, str(log.with_name("nothing"))), **parameters)


def send_damaged(node: NodeProcess, client: Client, count: int, first: int = 0) -> int:
    """Sends ``count`` damaged messages on each topic, then valid ones until hands are published.

    Returns:
        The number of messages sent.

    Raises:
        AssertionError: the node has ended, or publishes no hands after the last message.
    """
    client.listen("hands", HandArray)
    publishers = {name: client.publisher(topic, kind) for name, (topic, kind) in TOPICS.items()}
    client.until(lambda: all(p.get_subscription_count() for p in publishers.values()), "the node subscribes", 120)
    samples = [(name.partition(".")[0], data) for name, data in sample_messages()]
    samples = [(name, data) for name, data in samples if name in TOPICS]
    sent = 0
    for number in range(first, first + count):
        rng = random.Random(number)
        for name, publisher in publishers.items():
            data = rng.choice([data for other, data in samples if other == name])
            # The first bytes say how the rest is encoded, and are the middleware's.
            publisher.publish(data[:4] + mutated(data[4:], rng))
            sent += 1
        if number % _AT_ONCE == 0:
            client.until(lambda: True, "", meanwhile=None)
            assert node.process.poll() is None, f"the node ended at message {number}:\n{node.output[-3000:]}"
    client.received["hands"].clear()
    info = next(data for name, data in samples if name == "camera_info")
    image = CompressedImage(format="jpeg")
    image.data.frombytes(encode_image(picture(640, 480), ".jpg"))

    def send_valid() -> None:
        publishers["camera_info"].publish(info)
        publishers["compressed"].publish(image)

    client.until(lambda: client.received["hands"], "hands after the damage", 60, send_valid)
    assert node.process.poll() is None
    return sent


def main() -> int:
    """Starts the node and sends the messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="messages on each topic")
    parser.add_argument("--first", type=int, default=0, help="number of the first message")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node, client = start_node(Path(folder) / "log"), Client()
        try:
            print(f"{send_damaged(node, client, args.count, args.first)} messages, the node is alive")
        finally:
            client.close()
            node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
