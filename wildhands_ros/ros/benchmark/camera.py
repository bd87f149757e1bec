"""The benchmark's camera: a process that publishes the clip as raw 720p images.

It publishes at a fixed rate, or an image whenever hands arrive. At the end it prints one line of JSON to stdout: the
stamps (nanoseconds) of the images it sent, by namespace.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ...benchmark.clip import Clip, back_and_forth, load_clip
from ...msg import HandArray
from ..camera_info import camera_info
from ..images import encode_image
from ..share import share_folder
from ..shutdown import shut_down
from ..stamps import nanoseconds

FRAME_ID = "camera"
IN_FLIGHT = 2
"""Images on their way at once if the hands set the pace: one is processed, one waits."""
SUBSCRIBER_TIMEOUT = 60.0
"""Seconds to wait for subscribers."""
HANDS_TIMEOUT = 2.0
"""Seconds after which an image counts as lost."""


class BenchCamera(Node):
    """One camera per namespace, all in step."""

    def __init__(self, namespaces: list[str], clip: Clip):
        super().__init__("bench_camera")
        header = Header(frame_id=FRAME_ID)
        self._messages = back_and_forth([encode_image(frame, header) for frame in clip.frames])
        self._info = camera_info(clip.camera, header)
        qos = QoSProfile(depth=1)
        self._images = {name: self.create_publisher(Image, f"/{name}/image", qos) for name in namespaces}
        self._infos = {name: self.create_publisher(CameraInfo, f"/{name}/camera_info", qos) for name in namespaces}
        self.sent: dict[str, list[int]] = {name: [] for name in namespaces}
        self._last_answered = 0
        self.create_subscription(HandArray, f"/{namespaces[0]}/hands", self._on_hands, 10)

    def wait_for_subscribers(self) -> None:
        """Waits until all image topics have a subscriber.

        Raises:
            RuntimeError: some have none within ``SUBSCRIBER_TIMEOUT``.
        """
        deadline = time.monotonic() + SUBSCRIBER_TIMEOUT
        while not all(images.get_subscription_count() for images in self._images.values()):
            if time.monotonic() > deadline:
                topics = ", ".join(publisher.topic_name for publisher in self._images.values())
                raise RuntimeError(f"not all of {topics} have a subscriber")
            rclpy.spin_once(self, timeout_sec=0.1)

    def run(self, rate: float, seconds: float) -> None:
        """Publishes.

        Args:
            rate: images per second; 0 to publish an image whenever hands of the first namespace arrive.
            seconds: duration.
        """
        start = time.monotonic()
        number = 0
        while (now := time.monotonic()) < start + seconds:
            if rate and (wait := start + number / rate - now) > 0:
                time.sleep(wait)
            if not rate:
                self._wait_for_hands(now + HANDS_TIMEOUT)
            self._publish()
            number += 1

    def _publish(self) -> None:
        message = next(self._messages)
        for name, images in self._images.items():
            stamp = time.time_ns()
            message.header.stamp = self._info.header.stamp = Time(sec=stamp // 10**9, nanosec=stamp % 10**9)
            self._infos[name].publish(self._info)
            images.publish(message)
            self.sent[name].append(stamp)

    def _wait_for_hands(self, deadline: float) -> None:
        sent = next(iter(self.sent.values()))
        while len(sent) >= IN_FLIGHT and self._last_answered < sent[-IN_FLIGHT] and time.monotonic() < deadline:
            rclpy.spin_once(self, timeout_sec=0.01)

    def _on_hands(self, message: HandArray) -> None:
        self._last_answered = nanoseconds(message.header.stamp)


def main() -> int:
    """Runs the camera process and returns its exit code."""
    parser = argparse.ArgumentParser(description="Publishes the demo clip as raw 720p images.")
    parser.add_argument("namespaces", nargs="+")
    parser.add_argument("--rate", type=float, required=True, help="Hz; 0 to publish whenever hands arrive")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--clip", type=Path, default=share_folder("demo"))
    args = parser.parse_args()
    rclpy.init()
    try:
        camera = BenchCamera(args.namespaces, load_clip(args.clip))
        camera.wait_for_subscribers()
        camera.run(args.rate, args.seconds)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 1
    except RuntimeError as error:
        print(f"bench camera: {error}", file=sys.stderr)
        return 1
    finally:
        shut_down()
    print(json.dumps(camera.sent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
