"""What the node listens to while it is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from ..config import TOPIC, TRACKS
from .diagnostics import Health
from .pairing import StampPairs
from .parameters import Parameters
from .rejections import InputRejected

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

ImageMessage = Image | CompressedImage
DEPTH = QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH))
"""What may be overridden of the image's subscription: for its reliability there is a parameter, which also knows "auto"."""
ALL = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)


def image_topic(parameters: Parameters) -> str:
    return "image/compressed" if parameters.image_transport == "compressed" else "image"


class Inputs:
    """The subscriptions. To be used in the executor's thread."""

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        health: Health,
        on_image: Callable[[ImageMessage, Detection2DArray | None], bool],
        on_camera_info: Callable[[CameraInfo], None],
        on_detections: Callable[[Detection2DArray], None],
    ):
        """Takes what is called with each image (and with its detections where it waits for them), which says whether another was dropped
        for it; with each CameraInfo; and with detections for which no image waits."""
        self._node, self._parameters, self._health, self._take = node, parameters, health, on_image
        self._take_detections = on_detections
        self._pairs = StampPairs() if parameters.detector__type == TOPIC else None
        self._image_topic = node.resolve_topic_name(image_topic(parameters))
        self._listen_to_images(self._wanted_reliability(ReliabilityPolicy.BEST_EFFORT))
        self._detections_topic = ""
        self._others = [self._listen(CameraInfo, "camera_info", on_camera_info, depth=1)]
        if parameters.detector__type in (TOPIC, TRACKS):
            self._others.append(self._listen(Detection2DArray, "detections", self._on_detections, depth=10))
            self._detections_topic = node.resolve_topic_name("detections")

    def close(self) -> None:
        for subscription in (self._image, *self._others):
            self._node.destroy_subscription(subscription)

    def look_around(self) -> None:
        """Follows image_reliability: auto when the publishers have changed, and says where nobody publishes detections."""
        if self._detections_topic:
            silent = not self._node.count_publishers(self._detections_topic)
            text = f"nobody publishes {self._detections_topic}: start the detector, or remap detections"
            self._health.note("detector", text if silent else "")
        wanted = self._wanted_reliability(self._image.qos_profile.reliability)
        if wanted != self._image.qos_profile.reliability:
            self._node.destroy_subscription(self._image)
            self._listen_to_images(wanted)

    def _wanted_reliability(self, unless_known: ReliabilityPolicy) -> ReliabilityPolicy:
        """``unless_known``: while nobody publishes. A driver that comes back most likely offers what it did before."""
        if self._parameters.image_reliability != "auto":
            reliable = self._parameters.image_reliability == "reliable"
        else:
            offered = {
                info.qos_profile.reliability for info in self._node.get_publishers_info_by_topic(self._image_topic)
            }
            if not offered:
                return unless_known
            reliable = offered == {ReliabilityPolicy.RELIABLE}
        return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

    def _listen(self, kind: type, topic: str, callback: Callable, depth: int) -> Subscription:
        """Best effort, so that every publisher will do."""
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        return self._node.create_subscription(kind, topic, callback, qos, qos_overriding_options=ALL)

    def _listen_to_images(self, reliability: ReliabilityPolicy) -> None:
        self._image = self._node.create_subscription(
            CompressedImage if self._parameters.image_transport == "compressed" else Image,
            image_topic(self._parameters),
            self._on_image,
            QoSProfile(depth=1, reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            qos_overriding_options=DEPTH,
        )

    def _on_image(self, message: ImageMessage) -> None:
        self._health.image_received()
        if self._pairs is None:
            self._hand_over(message, None)
        else:
            self._pair(self._pairs.add_image, message)

    def _on_detections(self, message: Detection2DArray) -> None:
        if self._pairs is None:
            self._take_detections(message)
        else:
            self._pair(self._pairs.add_detections, message)

    def _pair(self, add: Callable[[Any], tuple | None], message: Any) -> None:
        lost = self._pairs.images_dropped
        pair = add(message)
        for _ in range(self._pairs.images_dropped - lost):
            text = (
                "images come without detections of the same stamp: is the detector running, and as fast as the camera?"
            )
            self._health.refuse(InputRejected("no_detections", text))
        if pair is not None:
            self._hand_over(*pair)

    def _hand_over(self, image: ImageMessage, found: Detection2DArray | None) -> None:
        if self._take(image, found):
            self._health.image_dropped()

    def _on_incompatible_qos(self, _event) -> None:
        if (
            self._parameters.image_reliability == "reliable"
        ):  # with auto, this one just has not followed a new publisher yet
            self._health.explain_silence(
                f"a publisher of {self._image_topic} is best effort, but image_reliability is reliable: set it to auto"
            )
