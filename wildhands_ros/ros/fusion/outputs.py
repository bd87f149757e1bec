"""The fusion node's publishers: the topics of a camera node that make sense without an image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...fitting.hand_fusion import FusedHand
from ...hand_model.asset import HandAsset
from ...hand_model.posing import HandPoser
from ...msg import HandArray, HandMeshTopology
from ...types import Side
from ..markers import MarkerBuilder
from ..messages import hand, mesh_topology
from ..transforms import TransformBuilder
from .parameters import FusionParameters

MARKERS_PERIOD = 1 / 15
"""Least seconds between two messages of markers."""


class FusedOutputs:
    """The publishers, all reliable. Costly messages are built only if they have subscribers."""

    def __init__(self, node: Node, assets: Mapping[Side, HandAsset]):
        """Creates the publishers and publishes the mesh topology.

        Args:
            node: node that owns the publishers.
            assets: hand model of each side.
        """
        self._node = node
        self._poser = HandPoser(assets)
        self.hand_model = assets[Side.RIGHT].name
        """Name of the hand model."""
        latched = QoSProfile(depth=len(Side), durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._hands = node.create_publisher(HandArray, "hands", QoSProfile(depth=10))
        self._topology = node.create_publisher(HandMeshTopology, "hands/mesh_topology", latched)
        self._markers = node.create_publisher(MarkerArray, "hands/markers", QoSProfile(depth=1))
        self._tf = node.create_publisher(TFMessage, "/tf", QoSProfile(depth=100))
        self._transform_builder = TransformBuilder()
        self._marker_builder = MarkerBuilder({side: asset.faces for side, asset in assets.items()})
        self._next_markers = 0.0
        for side in Side:
            self._topology.publish(mesh_topology(side, assets[side]))

    def close(self) -> None:
        """Destroys the publishers."""
        for publisher in (self._hands, self._topology, self._markers, self._tf):
            self._node.destroy_publisher(publisher)

    def publish(self, hands: Sequence[FusedHand], header: Header, parameters: FusionParameters) -> None:
        """Publishes the hands of a moment.

        Args:
            hands: the hands.
            header: stamp of the moment and common frame.
            parameters: parameters of the node.
        """
        estimates = [fused.estimate(self._poser.vertices) for fused in hands]
        message = HandArray(header=header, hand_model=self.hand_model)
        message.hands = [hand(estimate, 0, 0, parameters.publish_vertices) for estimate in estimates]
        self._hands.publish(message)
        if parameters.tf != "off" and estimates and self._tf.get_subscription_count():
            joints, operator = parameters.tf == "joints", parameters.tf_basis == "operator"
            self._tf.publish(self._transform_builder.build(estimates, header, parameters.tf_prefix, joints, operator))
        now = time.monotonic()
        if self._markers.get_subscription_count() and now >= self._next_markers:
            self._next_markers = now + MARKERS_PERIOD
            self._markers.publish(self._marker_builder.build(estimates, header))
