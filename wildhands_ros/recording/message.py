"""The type of ROS messages in this package."""

from typing import Any

from ..types import Side

Message = Any
"""A ROS message. rosbags creates the classes at runtime from the definitions in a bag, so they have no static type."""


SIDE_OF_VALUE = {1: Side.RIGHT, 2: Side.LEFT}
"""The known sides by the value of ``side`` in ``wildhands_ros/msg/Hand``."""


def message_stamp(header: Message, received: int) -> int:
    """Returns the stamp of a message in nanoseconds; the time of receipt if its header has none."""
    return header.stamp.sec * 10**9 + header.stamp.nanosec or received
