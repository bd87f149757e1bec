"""The rest of the robot, for soaks and tests.

It has a camera whose faults can be switched on, and listens to the node's outputs.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.client import Client
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from ...geometry.camera import Camera
from ...msg import HandArray
from ..camera_info import camera_info
from ..images import to_bytes
from ..stamps import nanoseconds

FRAME_ID = "camera_optical"
LATE = 0.5
"""Seconds by which an image out of order is older than the previous one; a second counts as a jump of the clock."""


@dataclass(frozen=True)
class _CameraPublishers:
    images: Publisher
    infos: Publisher


class Robot:
    """Publishes images while it spins, and keeps the last answers of the node.

    Attributes:
        rate: images per second.
        sent: number of images published.
        hands_received: number of HandArray messages received.
        last_hands: the last of them.
        diagnostics: values of the node's last status, and its "message".
        on_diagnostics: called with each new ``diagnostics``.
        frame_id: of the images.
        stamp_offset: error of the stamps in seconds.
        has_stamps: whether the stamps are set; zero otherwise.
        out_of_order: whether every other image is older than the one before. An overloaded node would drop the one or
            the other, so each image waits for the hands of the one before.
        sends_info: whether CameraInfo is published.
        alter_image, alter_info: change the messages before they are published.
    """

    def __init__(self, node: Node, executor: Executor, namespace: str, images: Sequence[np.ndarray], camera: Camera):
        """Creates the publishers and subscriptions.

        Args:
            node: the node to use.
            executor: spins ``node``.
            namespace: namespace of the node under test.
            images: (H, W, 3) RGB uint8, shown in turn.
            camera: camera of the images.
        """
        self.node, self.executor, self.namespace = node, executor, namespace.rstrip("/")
        self.target = f"{self.namespace}/wildhands"
        self.camera = camera
        self.rate = 30.0
        self.sent = 0
        self.hands_received = 0
        self.last_hands: HandArray | None = None
        self.diagnostics: dict[str, str] = {}
        self.on_diagnostics: Callable[[dict[str, str]], None] = lambda values: None
        self._image_data = [to_bytes(image) for image in images]
        self._due = 0.0
        self._clients: dict[str, Client] = {}
        self._publishers: _CameraPublishers | None = None
        self.heal()
        self._subscriptions = [
            node.create_subscription(HandArray, f"{self.namespace}/hands", self._on_hands, 10),
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10),
        ]

    def heal(self) -> None:
        """Ends all faults of the camera."""
        self.frame_id = FRAME_ID
        self.stamp_offset = 0.0
        self.has_stamps = True
        self.out_of_order = False
        self._in_order: int | None = None
        self.sends_info = True
        self.alter_image: Callable[[Image], object] = lambda image: None
        self.alter_info: Callable[[CameraInfo], object] = lambda info: None
        if self._publishers is None:
            self._publishers = _CameraPublishers(
                self.node.create_publisher(Image, f"{self.namespace}/image", QoSProfile(depth=1)),
                self.node.create_publisher(CameraInfo, f"{self.namespace}/camera_info", QoSProfile(depth=1)),
            )

    def stop_camera(self) -> None:
        """Destroys the camera's publishers, as if its driver had died."""
        if self._publishers is not None:
            self.node.destroy_publisher(self._publishers.images)
            self.node.destroy_publisher(self._publishers.infos)
            self._publishers = None

    def close(self) -> None:
        """Destroys publishers, subscriptions and clients."""
        self.stop_camera()
        for client in self._clients.values():
            self.node.destroy_client(client)
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)

    def spin(self, done: Callable[[], bool], timeout: float) -> bool:
        """Publishes and listens until ``done``. Returns False if that takes longer than ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not done():
            now = time.monotonic()
            if now >= end:
                return False
            if now >= self._due:
                self._due = max(self._due + 1 / self.rate, now - 1 / self.rate)
                self._publish()
            self.executor.spin_once(timeout_sec=max(0.0, min(self._due, end) - time.monotonic()))
        return True

    def call(self, service_type: type, service: str, request: Any, timeout: float = 60.0) -> Any:
        """Calls a service of the node while publishing. Returns the response; None if there is none."""
        if not self.wait_for_service(service_type, service, timeout):
            return None
        response = self.client(service_type, service).call_async(request)
        return response.result() if self.spin(response.done, timeout) else None

    def wait_for_service(self, service_type: type, service: str, timeout: float = 60.0) -> bool:
        """Waits until a service of the node is available, and returns whether it is."""
        return self.spin(self.client(service_type, service).service_is_ready, timeout)

    def client(self, service_type: type, service: str) -> Client:
        """Returns the client of a service of the node."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(service_type, f"{self.target}/{service}")
        return self._clients[service]

    def change_state(self, *transitions: int) -> None:
        """Requests lifecycle transitions, ids of lifecycle_msgs/Transition, one after the other."""
        for transition in transitions:
            request = ChangeState.Request()
            request.transition.id = transition
            self.call(ChangeState, "change_state", request)

    def count(self, key: str) -> int:
        """Returns a counter of the diagnostics."""
        return int(self.diagnostics.get(key, 0))

    def _publish(self) -> None:
        if self._publishers is None:
            return
        stamp = self._next_stamp()
        if stamp is None:
            return
        self.sent += 1
        header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=self.frame_id)
        if self.sends_info:
            info = camera_info(self.camera, header)
            self.alter_info(info)
            self._publishers.infos.publish(info)
        width, height = self.camera.width, self.camera.height
        image = Image(header=header, width=width, height=height, encoding="rgb8", step=3 * width)
        image.data = self._image_data[self.sent % len(self._image_data)]
        self.alter_image(image)
        self._publishers.images.publish(image)

    def _next_stamp(self) -> int | None:
        """Returns the stamp of the next image in nanoseconds; None if it has to wait."""
        now = time.time_ns() + int(1e9 * self.stamp_offset) if self.has_stamps else 0
        if not self.out_of_order:
            return now
        if self._in_order is None:
            self._in_order = now
            return now
        if self.last_hands is None or nanoseconds(self.last_hands.header.stamp) != self._in_order:
            return None
        late, self._in_order = self._in_order - int(1e9 * LATE), None
        return late

    def _on_hands(self, message: HandArray) -> None:
        self.hands_received += 1
        self.last_hands = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self.target[1:]:
                self.diagnostics = {item.key: item.value for item in status.values} | {"message": status.message}
                self.on_diagnostics(self.diagnostics)


def halve(image: Image) -> None:
    """Keeps the upper half of an image."""
    image.height //= 2
    image.data = image.data[: image.height * image.step]


def paint(image: Image, colour: bytes) -> None:
    """Fills an image with one colour."""
    image.data = array("B", colour * (image.width * image.height))
