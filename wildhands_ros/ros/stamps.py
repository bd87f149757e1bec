"""Stamps of messages as numbers."""

from __future__ import annotations

from builtin_interfaces.msg import Time


def nanoseconds(stamp: Time) -> int:
    """Returns a stamp; it may be negative, which ``rclpy.time.Time`` refuses with an error."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)
