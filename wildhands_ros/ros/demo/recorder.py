"""The demo's recorder: records the node's topics to an MCAP bag, writes the overlay, and keeps the hands."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rosbags.interfaces as rosbag
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...io.images import encode_image
from ...msg import HandArray, HandMeshTopology
from ...recording.bag_writer import BagWriter
from ..images import decode_image
from ..stamps import nanoseconds

TOPICS = {
    "image/compressed": CompressedImage,
    "camera_info": CameraInfo,
    "hands": HandArray,
    "hands/mesh_topology": HandMeshTopology,
    "hands/markers": MarkerArray,
    "hands/debug_image": Image,
    "/tf": TFMessage,
    "/diagnostics": DiagnosticArray,
}
LATCHED = ("hands/mesh_topology",)
IMAGES, DIAGNOSTICS = "image/compressed", "/diagnostics"
NODE_TOPICS = tuple(topic for topic in TOPICS if topic not in (IMAGES, "camera_info", DIAGNOSTICS))
"""The node's outputs for an image."""
COMPRESSED_DEBUG_IMAGE = "/hands/debug_image/compressed"
"""The overlay is recorded as JPEG, as image_transport would publish it. As raw images it would take 80 MB per
second."""


@dataclass(frozen=True)
class ReceivedHands:
    """A HandArray and its time of receipt in nanoseconds."""

    message: HandArray
    received: int


def stamp_of(message: HandArray) -> int:
    """Returns the stamp of a message in nanoseconds."""
    return nanoseconds(message.header.stamp)


class Recorder(Node):
    """Records while it spins.

    It subscribes to the images last, when all topics of the node exist. The camera waits for its subscribers, so that
    nothing of a short recording is missed.

    Attributes:
        hands: the hands received so far.
        overlays: number of overlay images received so far.
    """

    def __init__(self, folder: Path, draw: Callable[[np.ndarray, str], None]):
        """Starts recording.

        Args:
            folder: the new bag.
            draw: called with every overlay image (RGB) and a file name.

        Raises:
            OSError: the folder cannot be written.
        """
        super().__init__("recorder")
        self.hands: list[ReceivedHands] = []
        self.overlays = 0
        self._draw = draw
        self._bag = BagWriter(folder)
        for topic in TOPICS:
            if topic != IMAGES:
                self._subscribe(topic)
        self._timer = self.create_timer(0.1, self._subscribe_to_images)

    def close(self) -> None:
        """Completes the bag."""
        self._bag.close()

    def _subscribe(self, topic: str) -> None:
        message_type, latched = TOPICS[topic], topic in LATCHED
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        if message_type is Image:
            callback = self._record_overlay(self._bag_topic(COMPRESSED_DEBUG_IMAGE, CompressedImage, latched))
        else:
            connection = self._bag_topic(self.resolve_topic_name(topic), message_type, latched)
            callback = self._record(connection, message_type is HandArray)
        self.create_subscription(message_type, topic, callback, QoSProfile(depth=100, durability=durability), raw=True)

    def _subscribe_to_images(self) -> None:
        if all(self.count_publishers(topic) for topic in (*NODE_TOPICS, DIAGNOSTICS)):
            self._timer.cancel()
            self._subscribe(IMAGES)

    def _bag_topic(self, topic: str, message_type: type, latched: bool) -> rosbag.Connection:
        package = message_type.__module__.split(".")[0]
        return self._bag.topic(topic, f"{package}/msg/{message_type.__name__}", latched)

    def _record(self, connection: rosbag.Connection, is_hands: bool) -> Callable[[bytes], None]:
        def callback(data: bytes) -> None:
            now = time.time_ns()
            self._bag.write(connection, now, data)
            if is_hands:
                self.hands.append(ReceivedHands(deserialize_message(data, HandArray), now))

        return callback

    def _record_overlay(self, connection: rosbag.Connection) -> Callable[[bytes], None]:
        def callback(data: bytes) -> None:
            message = deserialize_message(data, Image)
            image = decode_image(message)
            self._draw(image, f"{self.overlays:05d}.jpg")
            self.overlays += 1
            compressed = CompressedImage(header=message.header, format="rgb8; jpeg compressed bgr8")
            compressed.data.frombytes(encode_image(image, ".jpg"))
            self._bag.write(connection, time.time_ns(), serialize_message(compressed))

        return callback
