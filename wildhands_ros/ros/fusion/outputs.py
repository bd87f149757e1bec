"""The fusion node's publishers: the topics of a camera node that make sense without an image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...config import SmoothingConfig
from ...fitting.hand_fusion import FusedHand
from ...hand_model.asset import HandAsset
from ...hand_model.posing import HandPoser
from ...msg import HandArray, HandMeshTopology
from ...smoothing.hands import ParameterSmoother, TrackedHand
from ...types import HandEstimate, ManoParameters, Side
from ..markers import MarkerBuilder
from ..messages import hand, mesh_topology
from ..transforms import TransformBuilder
from .parameters import FusionParameters

MARKERS_PERIOD = 1 / 15
"""Least seconds between two messages of markers."""


class FusedOutputs:
    """The publishers, all reliable. Costly messages are built only if they have subscribers."""

    def __init__(self, node: Node, assets: Mapping[Side, HandAsset], smoothing: SmoothingConfig | None):
        """Creates the publishers and publishes the mesh topology.

        Args:
            node: node that owns the publishers.
            assets: hand model of each side.
            smoothing: how much hands are smoothed over time; None for no smoothing.
        """
        self._node = node
        self._poser = HandPoser(assets)
        self._smoother = ParameterSmoother(assets, smoothing) if smoothing is not None else None
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

    def reset(self) -> None:
        """Forgets earlier hands, after which smoothing begins anew."""
        if self._smoother is not None:
            self._smoother.reset()

    def publish(self, hands: Sequence[FusedHand], header: Header, parameters: FusionParameters) -> None:
        """Publishes the hands of a moment.

        Args:
            hands: the hands.
            header: stamp of the moment and common frame.
            parameters: parameters of the node.
        """
        estimates = self._smoothed(
            [fused.estimate(self._poser.vertices) for fused in hands], header.stamp.sec + header.stamp.nanosec / 1e9
        )
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

    def _smoothed(self, hands: list[HandEstimate], stamp: float) -> list[HandEstimate]:
        if self._smoother is None:
            return hands
        manos = self._smoother([TrackedHand(hand.track_id, hand.side, hand.mano) for hand in hands], stamp)
        return [self._with(hand, mano) for hand, mano in zip(hands, manos, strict=True)]

    def _with(self, hand: HandEstimate, mano: ManoParameters) -> HandEstimate:
        """Returns the hand with other parameters."""
        posed = self._poser.joints(mano, hand.side)
        return replace(
            hand, mano=mano, joints=posed.joints, wrist_position=posed.joints[0], wrist_rotation=posed.rotation
        )
