"""Shuts rclpy down at the end of a process."""

from __future__ import annotations

from contextlib import suppress

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation


def shut_down() -> None:
    """Shuts rclpy down, unless a signal has done so.

    ``rclpy.try_shutdown`` asks first whether that is still to be done, and fails if the signal arrives in between.
    """
    with suppress(rclpy_implementation.RCLError):
        rclpy.try_shutdown()
