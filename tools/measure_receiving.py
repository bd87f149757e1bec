"""Measures the processor time that a node takes to receive a message.

    python tools/measure_receiving.py

Starts wildhands_node without a camera, sends it CameraInfo messages, and prints the milliseconds of processor time that
each message takes beyond those of the node at rest, for several runs.
"""

from __future__ import annotations

import argparse
import sys
import time

import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo

from wildhands_ros.benchmark.machine import cpu_seconds
from wildhands_ros.ros.isolated_graph import child_process, isolate_graph
from wildhands_ros.ros.shutdown import shut_down

START_TIMEOUT = 60.0
"""Seconds to wait for the node."""
SETTLE = 3.0
"""Seconds after the node has subscribed, in which it still starts."""


def main() -> int:
    """Runs the measurement and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run, and as long at rest")
    parser.add_argument("--rate", type=float, default=200.0, help="messages per second")
    args = parser.parse_args()
    isolate_graph()
    rclpy.init()
    try:
        node = rclpy.create_node("measure_receiving")
        publisher = node.create_publisher(CameraInfo, "camera_info", QoSProfile(depth=1))
        command = [sys.executable, "-m", "wildhands_ros.ros.node", "--ros-args", "--log-level", "warn"]
        with child_process(command) as process:
            end = time.monotonic() + START_TIMEOUT
            while not publisher.get_subscription_count():
                if process.poll() is not None or time.monotonic() > end:
                    print("the node does not start: its messages above may say why", file=sys.stderr)
                    return 1
                time.sleep(0.1)
            time.sleep(SETTLE)
            for _ in range(args.runs):
                start = cpu_seconds(process.pid)
                time.sleep(args.seconds)
                at_rest = cpu_seconds(process.pid)
                sent, end = 0, time.monotonic() + args.seconds
                while time.monotonic() < end:
                    publisher.publish(CameraInfo(width=1280, height=720))
                    sent += 1
                    time.sleep(1 / args.rate)
                spent = cpu_seconds(process.pid) - at_rest - (at_rest - start)
                print(f"{1e3 * spent / sent:.2f} ms a message, {sent} messages")
    finally:
        shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
