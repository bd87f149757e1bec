"""Measures what it takes to bring a raw image from one process to another through rclpy and Fast DDS.

    .venv/bin/python tools/bench_image_transport.py

Prints for each size, with Fast DDS's own settings and with config/fastdds_large_images.xml: the milliseconds of CPU
time of a publish call and of taking a message, the median of the time from the publish call to the callback, and how
many images arrived. ``raw`` takes the serialised bytes and makes no message of them.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SIZES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
PROFILE = Path(__file__).parent.parent / "config" / "fastdds_large_images.xml"
PERIOD = 0.05


def receive(is_raw: bool, count: int) -> None:
    """Receives images, and prints their ages in seconds and the CPU seconds of taking one as JSON."""
    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init()
    node = rclpy.create_node("receiver")
    ages: list[float] = []

    def on_image(message: Image | bytes) -> None:
        arrival = time.time_ns()
        if isinstance(message, bytes):  # the stamp follows the four bytes that say how the rest is encoded
            sec, nanosec = np.frombuffer(message[4:12], np.uint32)
        else:
            sec, nanosec = message.header.stamp.sec, message.header.stamp.nanosec
        ages.append((arrival - int(sec) * 10**9 - int(nanosec)) / 1e9)

    node.create_subscription(Image, "image", on_image, 5, raw=is_raw)
    print("ready", flush=True)
    start, end = time.process_time(), time.monotonic() + 2 * PERIOD * count + 5
    while len(ages) < count and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.5)
    cpu = (time.process_time() - start) / max(1, len(ages))
    print(json.dumps({"ages": ages, "cpu": cpu}))


def measure(size: tuple[int, int], is_raw: bool, count: int) -> str:
    """Sends images to a process, and returns a row of the table."""
    import rclpy
    from sensor_msgs.msg import Image

    width, height = size
    command = [sys.executable, __file__, "--receive", "--count", str(count), *(["--raw"] if is_raw else [])]
    receiver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert receiver.stdout is not None and receiver.stdout.readline() == "ready\n"
    node = rclpy.create_node("sender")
    publisher = node.create_publisher(Image, "image", 5)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    image = Image(width=width, height=height, encoding="rgb8", step=3 * width)
    image.data = array.array("B", bytes(3 * width * height))
    times = []
    while receiver.poll() is None:
        image.header.stamp = node.get_clock().now().to_msg()
        start = time.thread_time()
        publisher.publish(image)
        times.append(time.thread_time() - start)
        time.sleep(PERIOD)
    found = json.loads(receiver.stdout.read())
    node.destroy_node()
    age = f"{1e3 * np.median(found['ages']):.1f}" if found["ages"] else "-"
    return f"{1e3 * np.median(times):.2f} | {1e3 * found['cpu']:.2f} | {age} | {len(found['ages'])} of {len(times)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60, help="images of each kind (default: %(default)s)")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--raw", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        receive(options.raw, options.count)
    elif options.send:
        import rclpy

        rclpy.init()
        for name, size in SIZES.items():
            for is_raw in (False, True):
                row = measure(size, is_raw, options.count)
                print(f"| {name}{' raw' * is_raw} | {options.send} | {row} |", flush=True)
        rclpy.shutdown()
    else:
        print(
            "| image | settings | publish, ms | take, ms | age, ms | arrived |\n|---|---|---|---|---|---|", flush=True
        )
        environment = os.environ | {
            "ROS_DOMAIN_ID": str(random.randint(1, 101)),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
        for label, profile in (("default", {}), ("profile", dict.fromkeys(names, str(PROFILE)))):
            command = [sys.executable, __file__, "--send", label, "--count", str(options.count)]
            subprocess.run(command, check=True, env=environment | profile)


if __name__ == "__main__":
    main()
