"""The node's side of a bond with nav2's lifecycle manager, which notices by missing heartbeats that a node has died.

The protocol is that of the package bond. Both sides publish bond/msg/Status on the topic bond of their namespace with
the same ``id``, here the node's name. The bond is formed by the first message of the other side, and broken by
``active: false`` or if no message arrives for some time.

This side only publishes. Like nav2's own nodes, it stays active if the manager dies, so it has nothing to listen for;
and a subscriber would receive the heartbeats of all other nodes as well.
"""

from __future__ import annotations

import uuid
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.timer import Timer

try:
    from bond.msg import Status
except ImportError:  # Not installed. PyPI has another package of that name, without messages.
    Status = None

TOPIC = "bond"
HEARTBEAT_TIMEOUT = 4.0
"""Seconds; only for information: each side applies its own timeout."""


class Bond:
    """Publishes heartbeats between ``start`` and ``stop``, if the package bond is installed."""

    def __init__(self, node: Node):
        self._node = node
        # Not the node's clock: simulated time may stand still.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._publisher: Any = None
        self._timer: Timer | None = None
        self._period = 0.0
        self._instance = ""
        self._has_warned = False

    def start(self, period: float) -> None:
        """Begins a bond, unless one lasts.

        Args:
            period: seconds between two heartbeats; 0 for no bond.
        """
        if self._timer is not None or not period:
            return
        if Status is None:
            if not self._has_warned:
                self._timer = self._node.create_timer(period, self._warn_if_expected, clock=self._clock)
            return
        if self._publisher is None:
            # It exists as long as the node, so that the last message of a bond can still be delivered.
            self._publisher = self._node.create_publisher(Status, TOPIC, QoSProfile(depth=5))
        self._period, self._instance = period, str(uuid.uuid4())
        self._timer = self._node.create_timer(period, self._publish, clock=self._clock)
        self._publish()

    def stop(self) -> None:
        """Breaks the bond, if there is one."""
        if self._timer is None:
            return
        self._node.destroy_timer(self._timer)
        self._timer = None
        if self._publisher is not None:
            self._publish(active=False)

    def _publish(self, active: bool = True) -> None:
        message = Status(id=self._node.get_name(), instance_id=self._instance, active=active)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.heartbeat_timeout, message.heartbeat_period = HEARTBEAT_TIMEOUT, self._period
        self._publisher.publish(message)

    def _warn_if_expected(self) -> None:
        if not self._node.count_subscribers(TOPIC) or self._timer is None:
            return
        self._has_warned = True
        self._node.destroy_timer(self._timer)
        self._timer = None
        self._node.get_logger().warning(
            f"a lifecycle manager waits for bonds on {self._node.resolve_topic_name(TOPIC)}, but the package bond is "
            "not installed: if it manages this node, it will deactivate it after its bond_timeout. Install the "
            "package (sudo apt install ros-$ROS_DISTRO-bond), or set bond_timeout: 0.0 for the manager"
        )
