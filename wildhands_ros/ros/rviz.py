"""Starts rviz with the frame of the images as its fixed frame, which is only known once a message has arrived."""

from __future__ import annotations

if __name__ == "__main__":  # Before the imports, which take seconds: a signal may arrive meanwhile.
    from wildhands_ros.ros.process import run

    run("wildhands_ros.ros.rviz")

import os
import sys
import time

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from ..msg import HandArray
from . import process
from .frame_ids import tf_frame
from .shutdown import shut_down

PATIENCE = 15.0
"""Seconds after which rviz is started without a frame, to show that nothing arrives."""


def image_frame(patience: float = PATIENCE) -> str:
    """Returns the frame of the first CameraInfo or hands; empty if none arrive, or they have no frame."""
    node = rclpy.create_node("wildhands_rviz")
    found: list[str] = []
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)

    def add(message: CameraInfo | HandArray) -> None:
        found.append(tf_frame(message.header.frame_id))

    node.create_subscription(CameraInfo, "camera_info", add, qos)
    node.create_subscription(HandArray, "hands", add, qos)
    deadline = time.monotonic() + patience
    while rclpy.ok() and time.monotonic() < deadline and not any(found):
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    return next(filter(None, found), "")


def main() -> int:
    """Replaces this process by rviz2, with the arguments of the command line and the fixed frame.

    Returns:
        The exit code after a signal, or without rviz2.
    """
    process.init(rclpy.init)
    try:
        frame = image_frame()
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except Exception:
        if rclpy.ok():
            raise
        return 0  # A signal arrived while the node was created.
    if not rclpy.ok():
        return 0
    shut_down()
    try:
        # Before the other arguments, which end with those of ROS.
        os.execvp("rviz2", ["rviz2", *(["-f", frame] if frame else []), *sys.argv[1:]])
    except FileNotFoundError:
        print("wildhands_rviz: rviz2 is not on PATH: install the distribution's package rviz2", file=sys.stderr)
        return 1
