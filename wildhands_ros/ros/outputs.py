"""The node's publishers. Costly messages are built only if they have subscribers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ..geometry.calibration import IntrinsicsSource
from ..msg import HandArray, HandMeshTopology
from ..types import FrameEstimate, Side
from ..visualization.overlay import draw_frame
from .diagnostics import Health
from .images import encode_image
from .markers import MarkerBuilder
from .messages import hand_array, mesh_topology
from .parameters import Parameters
from .rejections import InputRejected
from .transforms import TransformBuilder

if TYPE_CHECKING:
    from ..estimator import Estimator

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks


class Outputs:
    """The publishers, all reliable. ``publish`` is called in the publisher's thread, the rest in the executor's."""

    def __init__(self, node: Node, health: Health):
        """Creates the publishers.

        Args:
            node: node that owns the publishers.
            health: receives QoS mismatches.
        """
        self._node, self._health = node, health
        self._publishers: dict[str, Publisher] = {}
        self.hands = self._publisher(HandArray, "hands", QoSProfile(depth=10))
        latched = QoSProfile(depth=len(Side), durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.topology = self._publisher(HandMeshTopology, "hands/mesh_topology", latched)
        self.markers = self._publisher(MarkerArray, "hands/markers", QoSProfile(depth=1))
        self.debug_image = self._publisher(Image, "hands/debug_image", QoSProfile(depth=1))
        self.tf = self._publisher(TFMessage, "/tf", QoSProfile(depth=100))
        self._transform_builder = TransformBuilder()
        self._marker_builder: MarkerBuilder | None = None
        self._next_markers = 0.0

    def close(self) -> None:
        """Destroys the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def subscribers(self) -> dict[str, int]:
        """Returns the number of subscribers by topic."""
        return {topic: publisher.get_subscription_count() for topic, publisher in self._publishers.items()}

    def set_estimator(self, estimator: Estimator) -> None:
        """Publishes the mesh topology of an estimator (latched) and prepares its markers."""
        self._marker_builder = MarkerBuilder(estimator.faces)
        for side in Side:
            self.topology.publish(mesh_topology(side, estimator.hand_model[side]))

    def publish(
        self,
        estimator: Estimator,
        frame: FrameEstimate,
        header: Header,
        image: np.ndarray,
        intrinsics: IntrinsicsSource,
        parameters: Parameters,
    ) -> None:
        """Publishes a frame on all topics that have subscribers.

        Args:
            estimator: estimator that made the estimate.
            frame: the estimate.
            header: header of the image.
            image: (H, W, 3) uint8 RGB, for the overlay.
            intrinsics: source of ``frame.camera``.
            parameters: parameters of the node.
        """
        hand_model = estimator.hand_model[Side.RIGHT].name
        self.hands.publish(hand_array(frame, header, intrinsics, hand_model, parameters.publish_vertices))
        if parameters.tf != "off" and frame.hands and header.frame_id and self.tf.get_subscription_count():
            joints, operator = parameters.tf == "joints", parameters.tf_basis == "operator"
            self.tf.publish(self._transform_builder.build(frame.hands, header, parameters.tf_prefix, joints, operator))
        now = time.monotonic()
        if self._marker_builder is not None and self.markers.get_subscription_count() and now >= self._next_markers:
            self._next_markers = now + 1 / parameters.markers_max_rate
            self.markers.publish(self._marker_builder.build(frame.hands, header))
        if self.debug_image.get_subscription_count():
            self.debug_image.publish(encode_image(draw_frame(image, frame, estimator.faces), header))

    def _publisher(self, kind: type, topic: str, qos: QoSProfile) -> Publisher:
        publisher = self._node.create_publisher(
            kind,
            topic,
            qos,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._on_incompatible_qos(topic)),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._publishers[topic] = publisher
        return publisher

    def _on_incompatible_qos(self, topic: str) -> Callable[[Any], None]:
        def on_event(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
            text = (
                f"a subscriber of {topic} receives nothing, because it requests another {policy} (ros2 topic info -v)"
            )
            self._health.reject(InputRejected("incompatible_qos", text))

        return on_event
