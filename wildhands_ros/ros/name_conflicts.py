"""Detects other nodes that publish the same TF frames or have the same name.

A TF frame has one parent. If two nodes publish the same frame, listeners see the hands of the two cameras alternately.
"""

from __future__ import annotations

import time

from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from .diagnostics import Health
from .parameters import Parameters

HANDS_TYPE = "wildhands_ros/msg/HandArray"
RESPONSE_TIMEOUT = 3.0
"""Seconds after which a response is considered lost: DDS drops one that is sent before reader and writer have
matched."""


class NameConflicts:
    """Asks other nodes that publish hands for their ``tf_prefix``.

    Without such nodes, a check costs one query of the graph.
    """

    def __init__(self, node: Node, health: Health):
        self._node, self._health = node, health
        self._others: dict[str, _OtherNode] = {}

    def check(self, parameters: Parameters) -> None:
        """Updates the warning. Call it periodically: responses are evaluated at the next call."""
        own_name = self._node.get_fully_qualified_name()
        names = self._publishers_of_hands()
        others = set(names) - {own_name}
        for gone in self._others.keys() - others:
            self._others.pop(gone).close()
        for name in others - self._others.keys():
            self._others[name] = _OtherNode(self._node, name)
        for other in self._others.values():
            other.poll()
        same_frames = sorted(name for name, other in self._others.items() if other.tf_prefix == parameters.tf_prefix)
        warning = ""
        if names.count(own_name) > 1:
            warning = f"another node has the name {own_name} too: give each node its own name or namespace"
        elif same_frames and parameters.tf != "off":
            warning = (
                f"{', '.join(same_frames)} publishes the same frames on /tf: give each node its own tf_prefix, or set "
                "tf to off"
            )
        self._health.set_warning("name_conflict", warning)

    def close(self) -> None:
        """Forgets the other nodes until the next check."""
        for other in self._others.values():
            other.close()
        self._others.clear()
        self._health.set_warning("name_conflict", "")

    def _publishers_of_hands(self) -> list[str]:
        """Returns fully qualified node names, one for each publisher."""
        topics = [topic for topic, types in self._node.get_topic_names_and_types() if HANDS_TYPE in types]
        infos = [info for topic in topics for info in self._node.get_publishers_info_by_topic(topic)]
        return [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]


class _OtherNode:
    """Another node that publishes hands. Its parameters are requested repeatedly, since they may change."""

    def __init__(self, node: Node, name: str):
        self.tf_prefix: str | None = None
        """None if unknown, or if the node publishes no TF frames."""
        self._node = node
        self._client: Client = node.create_client(GetParameters, f"{name}/get_parameters")
        self._response: Future | None = None
        self._asked_at = 0.0

    def poll(self) -> None:
        """Requests the parameters, or reads the response if it has arrived."""
        now = time.monotonic()
        if self._response is None:
            if self._client.service_is_ready():
                self._response = self._client.call_async(GetParameters.Request(names=["tf", "tf_prefix"]))
                self._asked_at = now
        elif self._response.done():
            self.tf_prefix = _tf_prefix(self._response.result())
            self._response = None
        elif now - self._asked_at > RESPONSE_TIMEOUT:
            self._client.remove_pending_request(self._response)
            self._response = None

    def close(self) -> None:
        self._node.destroy_client(self._client)


def _tf_prefix(response: GetParameters.Response | None) -> str | None:
    """Returns the node's prefix; None if it publishes no frames or is not a WildHands node."""
    if response is None:
        return None
    values = [value.string_value for value in response.values if value.type == ParameterType.PARAMETER_STRING]
    return values[1] if len(values) == 2 and values[0] != "off" else None
