"""The other side of the node: a camera whose faults can be switched on, and ears for what the node answers. For soaks and tests."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ...geometry.camera import Camera
from ...msg import HandArray
from ..camera_info import camera_info
from ..images import to_bytes

FRAME_ID = "camera_optical"


class Robot:
    """Publishes pictures at a rate while it spins, and keeps the last answers."""

    def __init__(self, node: Node, executor: Executor, namespace: str, pictures: list[np.ndarray], camera: Camera):
        """Takes the node to work with, which ``executor`` spins, and the calibrated camera's ``pictures`` (H, W, 3), shown in turn."""
        self.node, self.executor, self.namespace = node, executor, namespace.rstrip("/")
        self.target = f"{self.namespace}/wildhands"
        self._pictures = [to_bytes(picture) for picture in pictures]
        self.camera = camera
        self.rate = 30.0
        self.sent = 0
        self.hands_received = 0
        self.last_hands: HandArray | None = None
        self.diagnostics: dict[str, str] = {}
        """Values of the node's last status, with its "message"."""
        self.on_diagnostics: Callable[[dict[str, str]], None] = lambda values: None
        self._due = 0.0
        self._clients: dict[str, Client] = {}
        self._images = self._infos = None
        self.heal()
        self._ears = [
            node.create_subscription(HandArray, f"{self.namespace}/hands", self._on_hands, 10),
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10),
        ]

    def heal(self) -> None:
        """A camera without faults."""
        self.frame_id = FRAME_ID
        self.offset = 0.0
        """Seconds by which stamps are off."""
        self.stamped = True
        self.shuffles = False
        """Whether every third image is older than the one before."""
        self.alter_image: Callable[[Image], object] = lambda image: None
        self.alter_info: Callable[[CameraInfo], object] = lambda info: None
        self.sends_info = True
        if self._images is None:
            self._images = self.node.create_publisher(Image, f"{self.namespace}/image", QoSProfile(depth=1))
            self._infos = self.node.create_publisher(CameraInfo, f"{self.namespace}/camera_info", QoSProfile(depth=1))

    def die(self) -> None:
        """The driver is gone, with its publishers."""
        self.node.destroy_publisher(self._images)
        self.node.destroy_publisher(self._infos)
        self._images = self._infos = None

    def close(self) -> None:
        if self._images is not None:
            self.die()
        for client in self._clients.values():
            self.node.destroy_client(client)
        for subscription in self._ears:
            self.node.destroy_subscription(subscription)

    def spin(self, done: Callable[[], bool], timeout: float) -> bool:
        """Publishes and listens until ``done``; False when that takes more than ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not done():
            now = time.monotonic()
            if now >= end:
                return False
            if now >= self._due:
                self._due = max(self._due + 1 / self.rate, now - 1 / self.rate)
                self._send()
            self.executor.spin_once(timeout_sec=max(0.0, min(self._due, end) - time.monotonic()))
        return True

    def call(self, kind: type, service: str, request, timeout: float = 60.0):
        """The answer of one of the node's services, while images go on; None when none comes."""
        if not self.knows(kind, service, timeout):
            return None
        answer = self._clients[service].call_async(request)
        return answer.result() if self.spin(answer.done, timeout) else None

    def knows(self, kind: type, service: str, timeout: float = 60.0) -> bool:
        """Waits until one of the node's services is known here."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, f"{self.target}/{service}")
        return self.spin(self._clients[service].service_is_ready, timeout)

    def change_state(self, *transitions: int) -> None:
        """Asks for one transition after the other, ids of lifecycle_msgs/Transition."""
        for transition in transitions:
            request = ChangeState.Request()
            request.transition.id = transition
            self.call(ChangeState, "change_state", request)

    def count(self, key: str) -> int:
        """One of the diagnostics' counts."""
        return int(self.diagnostics.get(key, 0))

    def _send(self) -> None:
        if self._images is None:
            return
        self.sent += 1
        late = 0.2 if self.shuffles and self.sent % 3 == 0 else 0.0
        nanoseconds = time.time_ns() + int(1e9 * (self.offset - late)) if self.stamped else 0
        header = Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9), frame_id=self.frame_id)
        if self.sends_info:
            info = camera_info(self.camera, header)
            self.alter_info(info)
            self._infos.publish(info)
        width, height = self.camera.width, self.camera.height
        image = Image(header=header, width=width, height=height, encoding="rgb8", step=3 * width)
        image.data = self._pictures[self.sent % len(self._pictures)]
        self.alter_image(image)
        self._images.publish(image)

    def _on_hands(self, message: HandArray) -> None:
        self.hands_received += 1
        self.last_hands = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self.target[1:]:
                self.diagnostics = {item.key: item.value for item in status.values} | {"message": status.message}
                self.on_diagnostics(self.diagnostics)


def halve(image: Image) -> None:
    """Leaves the upper half."""
    image.height //= 2
    image.data = image.data[: image.height * image.step]


def paint(image: Image, colour: bytes) -> None:
    """Fills the image with one colour, for the soak's ``node``."""
    image.data = array("B", colour * (image.width * image.height))
