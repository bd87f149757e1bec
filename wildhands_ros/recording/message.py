"""The type of ROS messages in this package."""

from typing import Any

Message = Any
"""A ROS message. rosbags creates the classes at runtime from the definitions in a bag, so they have no static type."""
