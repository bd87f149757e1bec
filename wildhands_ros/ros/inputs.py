"""The node's subscriptions while it is active."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from ..config import TOPIC, TRACKS
from .diagnostics import Health
from .pairing import ImageMessage, ImageWithDetections, StampPairs
from .parameters import Parameters
from .receiver import Receiver
from .rejections import InputRejected

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

IMAGE_OVERRIDES = QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH))
"""QoS policies of the image subscription that can be overridden. For its reliability there is a parameter, which also
knows "auto"."""
OVERRIDES = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)


OWN_IMAGES = "/hands/debug_image"
"""End of the names of the image topics that wildhands nodes publish."""
MOST_NAMED = 4
"""Number of topics that a message names."""


def image_topic(node: Node, parameters: Parameters) -> str:
    """Returns the name of the image topic after remapping. ``image/compressed`` follows ``image``."""
    if parameters.image_transport != "compressed":
        return node.resolve_topic_name("image")
    name = node.resolve_topic_name("image/compressed")
    is_remapped = name != node.resolve_topic_name("image/compressed", only_expand=True)
    return name if is_remapped else f"{node.resolve_topic_name('image')}/compressed"


def other_topics(node: Node, kind: str, topic: str) -> tuple[str, ...]:
    """Returns the topics of a type on which other nodes publish, those of the node's namespace first.

    At most ``MOST_NAMED`` are returned.

    Args:
        node: the node.
        kind: the type, for example "sensor_msgs/msg/CameraInfo".
        topic: a topic that is left out, since it is subscribed to already.
    """
    names = [name for name, kinds in node.get_topic_names_and_types() if kind in kinds and name != topic]
    names.sort(key=lambda name: (not name.startswith(node.get_namespace()), name))
    published = [name for name in names if not name.endswith(OWN_IMAGES) and node.count_publishers(name)]
    return tuple(published[:MOST_NAMED])


class Inputs:
    """The subscriptions. All methods must be called in the executor's thread; messages arrive in another one."""

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        health: Health,
        on_image: Callable[[ImageMessage, Detection2DArray | None], bool],
        on_camera_info: Callable[[CameraInfo], None],
        on_detections: Callable[[Detection2DArray], None],
    ):
        """Subscribes.

        Args:
            node: node that owns the subscriptions.
            parameters: parameters of the node.
            health: receives counts and warnings.
            on_image: called with each image and, if images wait for their detections (detector.type is topic), with
                those detections. Returns whether an earlier image was dropped in favour of this one. This and the
                following functions are called in the receiver's thread.
            on_camera_info: called with each CameraInfo.
            on_detections: called with detections if images do not wait for them (detector.type is tracks).
        """
        self._node, self._parameters, self._health = node, parameters, health
        self._receiver = Receiver(node)
        self._on_image_and_detections, self._on_unpaired_detections = on_image, on_detections
        self._pairs = StampPairs() if parameters.detector__type == TOPIC else None
        self._image_topic = image_topic(node, parameters)
        self._image = self._subscribe_to_images(self._wanted_reliability(default=ReliabilityPolicy.BEST_EFFORT))
        self._detections_topic = ""
        self._on_camera_info = on_camera_info
        self._subscribe(CameraInfo, "camera_info", on_camera_info, depth=1)
        self._latched_info: Subscription | None = None
        self._subscribe_to_latched_info()
        if parameters.detector__type in (TOPIC, TRACKS):
            self._subscribe(Detection2DArray, "detections", self._on_detections, depth=10)
            self._detections_topic = node.resolve_topic_name("detections")

    def close(self) -> None:
        """Ends the subscriptions; after it has returned, nothing is called any more."""
        self._receiver.stop()

    def check_publishers(self) -> None:
        """Adapts to a change of the image publishers' reliability and warns if nobody publishes detections.

        Call it periodically.
        """
        if self._detections_topic:
            missing = not self._node.count_publishers(self._detections_topic)
            text = f"no publisher on {self._detections_topic}: start the detector, or remap detections"
            self._health.set_warning("detector", text if missing else "")
        self._subscribe_to_latched_info()
        current = self._image.qos_profile.reliability
        wanted = self._wanted_reliability(default=current)
        if wanted != current:
            self._receiver.unsubscribe(self._image)
            self._image = self._subscribe_to_images(wanted)

    def _wanted_reliability(self, default: ReliabilityPolicy) -> ReliabilityPolicy:
        """Returns the reliability to subscribe with.

        Without publishers it is ``default``, since a restarted driver probably has the same QoS.
        """
        if self._parameters.image_reliability != "auto":
            reliable = self._parameters.image_reliability == "reliable"
        else:
            publishers = self._node.get_publishers_info_by_topic(self._image_topic)
            offered = {info.qos_profile.reliability for info in publishers}
            if not offered:
                return default
            reliable = offered == {ReliabilityPolicy.RELIABLE}
        return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

    def _subscribe(self, kind: type, topic: str, callback: Callable, depth: int) -> None:
        """Subscribes with best effort, which matches every publisher, unless parameters override it."""
        self._receiver.subscribe(
            kind,
            topic,
            callback,
            QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=partial(self._on_excluded_publisher, topic)),
            qos_overriding_options=OVERRIDES,
        )

    def _on_excluded_publisher(self, topic: str, event: object) -> None:
        name = self._node.resolve_topic_name(topic)
        self._health.set_warning(
            f"qos of {topic}",
            f"a publisher on {name} does not offer the QoS that the parameters qos_overrides.{name}.subscription ask "
            "for, so none of its messages arrive: remove them, or change the publisher",
        )

    def _subscribe_to_latched_info(self) -> None:
        """Subscribes to CameraInfo a second time, with transient local, if a publisher offers it.

        Such a publisher may send its only CameraInfo before the node starts. Asking for it in the first place would
        exclude all other publishers.
        """
        topic = self._node.resolve_topic_name("camera_info")
        publishers = self._node.get_publishers_info_by_topic(topic) if self._latched_info is None else []
        if any(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers):
            qos = QoSProfile(
                depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
            )
            self._latched_info = self._receiver.subscribe(CameraInfo, "camera_info", self._on_camera_info, qos)

    def _subscribe_to_images(self, reliability: ReliabilityPolicy) -> Subscription:
        return self._receiver.subscribe(
            CompressedImage if self._parameters.image_transport == "compressed" else Image,
            self._image_topic,
            self._on_image,
            QoSProfile(depth=1, reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible_qos),
            qos_overriding_options=IMAGE_OVERRIDES,
        )

    def _on_image(self, message: ImageMessage) -> None:
        self._health.image_received()
        if self._pairs is None:
            self._forward(message, None)
        else:
            dropped_before = self._pairs.images_dropped
            self._forward_pair(self._pairs.add_image(message), self._pairs.images_dropped - dropped_before)

    def _on_detections(self, message: Detection2DArray) -> None:
        if self._pairs is None:
            self._on_unpaired_detections(message)
        else:
            dropped_before = self._pairs.images_dropped
            self._forward_pair(self._pairs.add_detections(message), self._pairs.images_dropped - dropped_before)

    def _forward_pair(self, pair: ImageWithDetections | None, images_dropped: int) -> None:
        for _ in range(images_dropped):
            text = "no detections with the stamp of the image: is the detector running, and as fast as the camera?"
            self._health.reject(InputRejected("no_detections", text))
        if pair is not None:
            self._forward(pair.image, pair.detections)

    def _forward(self, image: ImageMessage, detections: Detection2DArray | None) -> None:
        if self._on_image_and_detections(image, detections):
            self._health.image_dropped()

    def _on_incompatible_qos(self, event: object) -> None:
        # With auto, the subscription has just not followed a new publisher yet.
        if self._parameters.image_reliability == "reliable":
            self._health.explain_silence(
                f"a publisher on {self._image_topic} is best effort, but image_reliability is reliable: set it to auto"
            )
