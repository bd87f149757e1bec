"""The demo's camera: a process that publishes the frames of a source as a calibrated camera does.

Frames of files are published at their own rate or slower: each waits for the hands of the previous frame, so that no
frame is lost on a slow machine. A live camera does not wait. At the end the process prints one line of JSON to stdout
with the times.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from ...geometry.calibration import Calibration
from ...io.camera_files import load_calibration
from ...io.images import encode_image
from ...io.sources import CameraSource, Frame, FrameSource, open_source
from ...msg import HandArray
from ..camera_info import camera_info
from ..shutdown import shut_down
from ..stamps import nanoseconds

FRAME_ID = "camera"
READY_TIMEOUT = 120.0
"""Seconds to wait for the node; loading torch from a cold disk takes long."""
HANDS_TIMEOUT = 10.0
"""Seconds to wait for the hands of a frame before the next is published."""
STILL_SPACING = 1_000_000_000
"""Nanoseconds between the stamps of still images: too long for hands in them to be tracked."""


class StreamPublisher(Node):
    """Publishes image/compressed and camera_info.

    Attributes:
        sent: stamp and time of sending of each frame, nanoseconds.
        answered: stamp and time of receipt of each frame's hands, nanoseconds. The recorder is busy writing and would
            measure later times.
    """

    def __init__(self, listeners: int, node_topics: Sequence[str]):
        """Creates the publishers.

        Args:
            listeners: number of subscribers to wait for: the node and those that listen to the node too.
            node_topics: topics of the node on which the other listeners must be subscribed.
        """
        super().__init__("stream_publisher")
        self._listeners, self._node_topics = listeners, node_topics
        self._images = self.create_publisher(CompressedImage, "image/compressed", QoSProfile(depth=5))
        self._infos = self.create_publisher(CameraInfo, "camera_info", QoSProfile(depth=5))
        self.create_subscription(HandArray, "hands", self._on_hands, 10)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._state, self._failure = "", ""
        self._node_has_listeners = False
        self._last_answered = 0
        self.sent: list[tuple[int, int]] = []
        self.answered: list[tuple[int, int]] = []

    def wait_until_ready(self) -> None:
        """Waits until the node is active and all subscriptions are connected.

        Raises:
            RuntimeError: the node failed, or takes longer than ``READY_TIMEOUT``.
        """
        deadline = time.monotonic() + READY_TIMEOUT
        while not self._is_ready():
            if self._failure:
                raise RuntimeError(self._failure)
            if time.monotonic() > deadline:
                listeners = f"{self._connected()} of {self._listeners} subscribers to the images and their CameraInfo"
                outputs = "all" if self._node_has_listeners else "not all"
                raise RuntimeError(
                    f"the node is not ready after {READY_TIMEOUT:g} s (state: {self._state or 'unknown'}; {listeners}; "
                    f"{outputs} of its outputs have subscribers)"
                )
            rclpy.spin_once(self, timeout_sec=0.1)

    def run(self, source: FrameSource, calibration: Calibration | None) -> None:
        """Publishes all frames, or until Ctrl-C."""
        live = isinstance(source, CameraSource)
        due = time.monotonic()
        try:
            for frame in source:
                while (wait := due - time.monotonic()) > 0 and not live:
                    rclpy.spin_once(self, timeout_sec=wait)
                due = max(due, time.monotonic() - 1) + (1 / source.fps if source.fps else 0)
                stamp = self._publish(frame, calibration)
                if live:
                    rclpy.spin_once(self, timeout_sec=0)
                else:
                    self._wait_for_hands(stamp)
        except (KeyboardInterrupt, ExternalShutdownException):
            pass

    def _is_ready(self) -> bool:
        return self._state == "active" and self._node_has_listeners and self._connected() >= self._listeners

    def _connected(self) -> int:
        """Returns how many subscribers both topics have: each is discovered by itself."""
        return min(self._images.get_subscription_count(), self._infos.get_subscription_count())

    def _publish(self, frame: Frame, calibration: Calibration | None) -> int:
        """Publishes a frame and returns its stamp in nanoseconds."""
        now = time.time_ns()
        stamp = now if frame.stamp is not None or not self.sent else self.sent[-1][0] + STILL_SPACING
        header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=FRAME_ID)
        if calibration is not None:
            camera, _ = calibration.camera(frame.image.shape[1], frame.image.shape[0], rectified=False)
            self._infos.publish(camera_info(camera, header))
        message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
        message.data.frombytes(encode_image(frame.image, ".jpg"))
        self._images.publish(message)
        self.sent.append((stamp, now))
        return stamp

    def _wait_for_hands(self, stamp: int) -> None:
        deadline = time.monotonic() + HANDS_TIMEOUT
        while self._last_answered < stamp and time.monotonic() < deadline:
            rclpy.spin_once(self, timeout_sec=0.1)

    def _on_hands(self, message: HandArray) -> None:
        self._last_answered = nanoseconds(message.header.stamp)
        self.answered.append((self._last_answered, time.time_ns()))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            self._state = values.get("state", self._state)
            # What the node publishes before it has discovered a subscriber is lost, and topics are discovered one by
            # one. This process itself subscribes to hands.
            counts = (int(values.get(f"subscribers: {topic}", 0)) - (topic == "hands") for topic in self._node_topics)
            self._node_has_listeners = min(counts) >= self._listeners - 1
            if self._state == "unconfigured" and status.level == DiagnosticStatus.ERROR:
                self._failure = status.message


def main() -> int:
    """Runs the camera process and returns its exit code."""
    parser = argparse.ArgumentParser(description="Publishes the frames of a source as a calibrated camera does.")
    parser.add_argument("source")
    parser.add_argument("--camera-info", type=Path)
    parser.add_argument("--listeners", type=int, default=1)
    parser.add_argument("--node-topics", nargs="+", default=["hands"])
    args = parser.parse_args()
    rclpy.init()
    try:
        source = open_source(args.source)
        calibration = load_calibration(args.camera_info) if args.camera_info else None
        publisher = StreamPublisher(args.listeners, args.node_topics)
        publisher.wait_until_ready()
        publisher.run(source, calibration)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 1
    except (RuntimeError, ValueError, OSError) as error:
        print(f"stream_publisher: {error}", file=sys.stderr)
        return 1
    finally:
        shut_down()
    print(json.dumps({"sent": publisher.sent, "answered": publisher.answered, "problems": source.problems}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
