"""Detects publishers whose messages cannot be read: of another type, or of another version of the type."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

_HINTS = {
    ("sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"): "set image_transport to compressed, or remap it",
    ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"): "set image_transport to raw, or remap it",
}
"""What to do by the type that is published, and the type that is needed."""


def type_conflicts(node: Node) -> list[str]:
    """Returns a sentence for each publisher on the topics of a node that publishes something else. Call it regularly.

    The middleware does not connect such publishers, or delivers messages that cannot be read, and says nothing.
    """
    topics = {subscription.topic_name for subscription in node.subscriptions}
    return [text for topic in sorted(topics) for text in _conflicts(node, topic)]


def _conflicts(node: Node, topic: str) -> list[str]:
    own = [
        info for info in node.get_subscriptions_info_by_topic(topic) if _name(info) == node.get_fully_qualified_name()
    ]
    if not own:  # The graph does not know the subscription yet.
        return []
    texts = []
    for other in node.get_publishers_info_by_topic(topic):
        found, needed = other.topic_type, own[0].topic_type
        if found != needed:
            advice = _HINTS.get((found, needed), "remap the topic")
            texts.append(f"{_name(other)} publishes {found} on {topic}, but {needed} is needed: {advice}")
        elif _version(other) and _version(own[0]) and _version(other) != _version(own[0]):
            texts.append(
                f"{_name(other)} publishes another version of {found} on {topic}, which cannot be read: build both "
                "programs with the same version of its package"
            )
    return texts


def _name(info: TopicEndpointInfo) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _version(info: TopicEndpointInfo) -> str:
    """Returns the hash of the definition; empty if it is unknown, as in Humble and of publishers without ROS."""
    kind = getattr(info, "topic_type_hash", None)
    return "" if kind is None or kind.version <= 0 else bytes(kind.value).hex()
