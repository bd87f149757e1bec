"""The depth camera of the node: its subscriptions, and the depth image that belongs to each colour image."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ..geometry.camera import Camera
from ..geometry.depth_image import DepthImage
from ..geometry.pose import Pose
from ..types import DepthStatus
from .camera_motion import CameraMotion, TransformUnavailable
from .depth_registration import LATE, ColourImage, check_gap, registered
from .diagnostics import Health
from .parameters import Parameters
from .rejections import InputRejected
from .stamps import nanoseconds

KEPT = 4
"""Number of depth images that are kept, so that one of them has the stamp of the colour image that is processed."""
LONGEST_WAIT = 0.05
"""Seconds for which a hand waits for a depth image that is on its way."""
ALIVE = 1.0
"""Seconds after the last depth image for which another one is expected."""


class DepthInput:
    """Subscribes to a depth camera and finds the depth image of each colour image.

    Messages arrive in the executor's thread; ``for_image`` is called in the worker's.
    """

    def __init__(self, node: Node, parameters: Parameters, health: Health):
        """Subscribes, with best effort, which matches every publisher.

        Args:
            node: node that owns the subscriptions.
            parameters: parameters of the node.
            health: receives counts and warnings.
        """
        self._node, self._health = node, health
        self._arrived = threading.Condition()
        self._messages: deque[Image | CompressedImage] = deque(maxlen=KEPT)
        self._last_arrival = -float("inf")
        self._info: CameraInfo | None = None
        self._motion: CameraMotion | None = None
        self._needs_motion = False
        compressed = parameters.depth_transport == "compressedDepth"
        self._topic = node.resolve_topic_name("depth") + ("/compressedDepth" if compressed else "")
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        kind = CompressedImage if compressed else Image
        self._subscriptions = [
            node.create_subscription(kind, self._topic, self._on_depth, qos),
            node.create_subscription(CameraInfo, "depth_camera_info", self._on_info, qos),
        ]

    def close(self) -> None:
        """Ends the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        if self._motion is not None:
            self._motion.close()

    def _on_depth(self, message: Image | CompressedImage) -> None:
        if self._needs_motion and self._motion is None:
            # Only now, because listening to TF costs time, and in this thread, which owns the subscriptions.
            self._motion = CameraMotion(self._node, "")
        with self._arrived:
            if self._messages and nanoseconds(message.header.stamp) < nanoseconds(self._messages[-1].header.stamp):
                self._messages.clear()  # The clock was set back, or a bag starts again.
            self._messages.append(message)
            self._last_arrival = time.monotonic()
            self._arrived.notify_all()

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def for_image(
        self, header: Header, camera: Camera, parameters: Parameters, is_stopped: Callable[[], bool]
    ) -> DepthImage | DepthStatus:
        """Returns the depth image of a colour image, or why there is none; a depth image on its way is waited for.

        Args:
            header: header of the colour image.
            camera: its camera.
            parameters: parameters of the node.
            is_stopped: returns whether waiting has become pointless.
        """
        try:
            message = self._message(header, parameters.depth_tolerance, is_stopped)
            if message is None:
                return DepthStatus.NONE
            return registered(
                message,
                self._info,
                ColourImage(header, camera, parameters.rectified),
                parameters.depth_noise,
                parameters.max_pixels,
                partial(self._pose, header, message.header),
                f"depth images arrive on {self._topic}, but no CameraInfo on "
                f"{self._node.resolve_topic_name('depth_camera_info')}: remap depth_camera_info to that of the depth "
                "camera",
            )
        except InputRejected as rejection:
            self._health.reject(rejection)
            return DepthStatus.LATE if rejection.name == LATE else DepthStatus.UNUSABLE

    def _message(
        self, header: Header, tolerance: float, is_stopped: Callable[[], bool]
    ) -> Image | CompressedImage | None:
        """Returns the depth message nearest to the stamp of an image; None if there is no depth camera.

        Raises:
            InputRejected: the nearest message is more than ``tolerance`` seconds away.
        """
        stamp = nanoseconds(header.stamp)
        deadline = time.monotonic() + LONGEST_WAIT
        with self._arrived:
            while True:
                now = time.monotonic()
                if now - self._last_arrival > ALIVE:
                    self._messages.clear()
                if not self._messages:
                    return None
                gaps = [nanoseconds(message.header.stamp) - stamp for message in self._messages]
                nearest = int(np.argmin(np.abs(gaps)))
                message = self._messages[nearest]
                if abs(gaps[nearest]) <= tolerance * 1e9:
                    return message
                # Only messages that are slightly older than the image tell that its own is still on its way.
                if gaps[-1] > 0 or gaps[-1] < -ALIVE * 1e9 or now >= deadline or is_stopped():
                    break
                self._arrived.wait(deadline - now)
        check_gap(gaps[nearest] / 1e9, tolerance)
        return message

    def _pose(self, header: Header, depth_header: Header) -> Pose:
        """Returns the pose of the depth camera in the frame of the colour image.

        Raises:
            TransformUnavailable: it is unknown.
        """
        self._needs_motion = True
        if self._motion is None:
            raise TransformUnavailable("TF has not been listened to yet")
        return self._motion.pose_in(header.frame_id, depth_header)
