"""The demo's camera: a process that publishes the frames of a source as a calibrated camera does.

Files are published at their own rate at most, each frame once the hands of the one before have come, so that no frame is lost on a slow
machine; a live camera runs freely. At the end one line of JSON on stdout says when each frame was sent.
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

from ...io.camera_files import load_calibration
from ...io.images import encode_image
from ...io.sources import CameraSource, Frame, FrameSource, open_source
from ...msg import HandArray
from ..camera_info import camera_info

FRAME_ID = "camera"
READY_TIMEOUT = 120.0
"""Seconds for the node to load; torch on a cold disk takes long."""
ACKNOWLEDGE_TIMEOUT = 10.0
"""Seconds to wait for a frame's hands before going on."""
STILL_SPACING = 1_000_000_000
"""Nanoseconds between the stamps of still images: far enough apart not to be taken for one moving hand."""


class StreamPublisher(Node):
    """Publishes image/compressed and camera_info."""

    def __init__(self, listeners: int, heard: Sequence[str]):
        """Takes what to wait for: how many ``listeners`` to the images, the node among them, and the node's topics on which the others
        listen to it (this one listens to hands itself)."""
        super().__init__("stream_publisher")
        self._listeners = listeners
        self._images = self.create_publisher(CompressedImage, "image/compressed", QoSProfile(depth=5))
        self._infos = self.create_publisher(CameraInfo, "camera_info", QoSProfile(depth=5))
        self.create_subscription(HandArray, "hands", self._on_hands, 10)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._state, self._failure = "", ""
        self._heard, self._is_heard = heard, False
        self._acknowledged = Time()
        self.answered: list[tuple[int, int]] = []
        """Stamp and time of arrival of each frame's hands, nanoseconds. The recorder, which has much to write, would see them late."""

    def wait_until_ready(self) -> None:
        """Returns when the node has loaded and everybody hears everybody.

        :raises RuntimeError: the node failed, or takes too long.
        """
        deadline = time.monotonic() + READY_TIMEOUT
        while self._state != "active" or not self._is_heard or self._images.get_subscription_count() < self._listeners:
            if self._failure:
                raise RuntimeError(self._failure)
            if time.monotonic() > deadline:
                there = f"{self._images.get_subscription_count()} of {self._listeners} listen to the images"
                heard = "all" if self._is_heard else "not all"
                state = f"state: {self._state or 'not seen'}; {there}, {heard} of them to the node"
                raise RuntimeError(f"the node is not ready after {READY_TIMEOUT:g} s ({state})")
            rclpy.spin_once(self, timeout_sec=0.1)

    def run(self, source: FrameSource, calibration_file: Path | None) -> list[tuple[int, int]]:
        """Publishes all frames; returns each one's stamp and the time it was sent, in nanoseconds."""
        calibration = load_calibration(calibration_file) if calibration_file else None
        live = isinstance(source, CameraSource)
        sent: list[tuple[int, int]] = []
        due = time.monotonic()
        try:
            for frame in source:
                while (wait := due - time.monotonic()) > 0 and not live:
                    rclpy.spin_once(self, timeout_sec=wait)
                due = max(due, time.monotonic() - 1) + (1 / source.fps if source.fps else 0)
                sent.append(self._publish(frame, calibration, sent))
                if live:
                    rclpy.spin_once(self, timeout_sec=0)
                else:
                    self._wait_for_hands(sent[-1][0])
        except (KeyboardInterrupt, ExternalShutdownException):
            pass  # the user has seen enough
        return sent

    def _publish(self, frame: Frame, calibration, sent: list) -> tuple[int, int]:
        now = time.time_ns()
        stamp = now if frame.stamp is not None or not sent else sent[-1][0] + STILL_SPACING
        header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=FRAME_ID)
        if calibration is not None:
            camera, _ = calibration.camera(frame.image.shape[1], frame.image.shape[0], rectified=False)
            self._infos.publish(camera_info(camera, header))
        message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
        message.data.frombytes(encode_image(frame.image, ".jpg"))
        self._images.publish(message)
        return stamp, now

    def _wait_for_hands(self, stamp: int) -> None:
        deadline = time.monotonic() + ACKNOWLEDGE_TIMEOUT
        while self._acknowledged.sec * 10**9 + self._acknowledged.nanosec < stamp and time.monotonic() < deadline:
            rclpy.spin_once(self, timeout_sec=0.1)

    def _on_hands(self, message: HandArray) -> None:
        self._acknowledged = message.header.stamp
        self.answered.append((message.header.stamp.sec * 10**9 + message.header.stamp.nanosec, time.time_ns()))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            self._state = values.get("state", self._state)
            # What the node says before it knows of a listener does not reach that one, and discovery of each topic takes its own time.
            counts = {topic: int(values.get(f"subscribers: {topic}", 0)) - (topic == "hands") for topic in self._heard}
            self._is_heard = min(counts.values()) >= self._listeners - 1
            if self._state == "unconfigured" and status.level == DiagnosticStatus.ERROR:
                self._failure = status.message


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--camera-info", type=Path)
    parser.add_argument("--listeners", type=int, default=1)
    parser.add_argument("--heard", nargs="+", default=["hands"])
    args = parser.parse_args()
    rclpy.init()
    sent, answered = [], []
    try:
        source = open_source(args.source)
        publisher = StreamPublisher(args.listeners, args.heard)
        publisher.wait_until_ready()
        sent, answered = publisher.run(source, args.camera_info), publisher.answered
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (RuntimeError, ValueError, OSError) as error:
        print(f"stream_publisher: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    print(json.dumps({"sent": sent, "answered": answered, "problems": source.problems}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
