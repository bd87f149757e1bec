"""Other nodes that publish the same TF frames: a frame has one parent, so its listeners would see the hands of two cameras by turns."""

from __future__ import annotations

import time

from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from .diagnostics import Health
from .parameters import Parameters

HANDS_TYPE = "wildhands_ros/msg/HandArray"
PATIENCE = 3.0
"""Seconds after which an answer is taken for lost: DDS drops one that is sent before it has matched its reader."""


class NameConflicts:
    """Looks for other nodes that publish hands and asks them for their ``tf_prefix``. Without any, a look costs a query of the graph."""

    def __init__(self, node: Node, health: Health):
        self._node, self._health = node, health
        self._prefixes: dict[str, str | None] = {}
        self._clients: dict[str, tuple] = {}

    def look(self, parameters: Parameters) -> None:
        """To be called now and then; what it finds is known at the next call."""
        own = self._node.get_fully_qualified_name()
        names = self._publishers_of_hands()
        same_name = names.count(own) > 1
        others = set(names) - {own}
        for gone in self._clients.keys() - others:
            self._forget(gone)
        for name in others:
            self._ask(name)
        twins = sorted(name for name in others if self._prefixes.get(name) == parameters.tf_prefix)
        text = ""
        if same_name:
            text = f"another node is called {own} too: give each a name or a namespace of its own"
        elif twins and parameters.tf != "off":
            text = f"{', '.join(twins)} publishes the same frames on /tf: give each node a tf_prefix of its own, or set tf to off"
        self._health.note("tf_prefix", text)

    def close(self) -> None:
        """Forgets them until the next look."""
        for name in list(self._clients):
            self._forget(name)
        self._health.note("tf_prefix", "")

    def _publishers_of_hands(self) -> list[str]:
        topics = [topic for topic, types in self._node.get_topic_names_and_types() if HANDS_TYPE in types]
        infos = [info for topic in topics for info in self._node.get_publishers_info_by_topic(topic)]
        return [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]

    def _ask(self, name: str) -> None:
        client, answer, asked = self._clients.get(name) or (
            self._node.create_client(GetParameters, f"{name}/get_parameters"),
            None,
            0.0,
        )
        now = time.monotonic()
        if answer is None and client.service_is_ready():
            answer, asked = client.call_async(GetParameters.Request(names=["tf", "tf_prefix"])), now
        elif answer is not None and answer.done():
            self._prefixes[name] = _prefix(answer.result())
            answer = None  # asked anew the next time, for it may be set
        elif answer is not None and now - asked > PATIENCE:
            client.remove_pending_request(answer)
            answer = None
        self._clients[name] = client, answer, asked

    def _forget(self, name: str) -> None:
        client, *_ = self._clients.pop(name)
        self._prefixes.pop(name, None)
        self._node.destroy_client(client)


def _prefix(response: GetParameters.Response | None) -> str | None:
    """The node's prefix; None where it publishes no frames, or is none of ours."""
    values = (
        [value.string_value for value in response.values if value.type == ParameterType.PARAMETER_STRING]
        if response
        else []
    )
    return values[1] if len(values) == 2 and values[0] != "off" else None
