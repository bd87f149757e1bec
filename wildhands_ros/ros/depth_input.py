"""The depth camera of the node: its subscriptions, and the depth image that belongs to each colour image."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ..geometry.calibration import CalibrationError
from ..geometry.camera import Camera
from ..geometry.depth_image import DepthImage
from ..geometry.pose import Pose
from ..types import DepthStatus
from .camera_info import calibration
from .camera_motion import CameraMotion, TransformUnavailable
from .depth_images import decode_depth
from .diagnostics import Health
from .parameters import Parameters
from .rejections import InputRejected

KEPT = 4
"""Number of depth images that are kept, so that one of them has the stamp of the colour image that is processed."""
LONGEST_WAIT = 0.05
"""Seconds for which a hand waits for a depth image that is on its way."""
ALIVE = 1.0
"""Seconds after the last depth image for which another one is expected."""
_ASPECT_TOLERANCE = 0.01
"""Largest relative difference of the aspect ratios of a depth image without CameraInfo and its colour image."""


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
            if self._messages and _nanoseconds(message.header) < _nanoseconds(self._messages[-1].header):
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
            depth = decode_depth(message, parameters.max_pixels)
            depth_camera, pose = self._camera(message.header, header, depth, camera, parameters.rectified)
            image = DepthImage(depth, depth_camera, pose, parameters.depth_noise)
        except InputRejected as rejection:
            self._health.reject(rejection)
            return DepthStatus.LATE if rejection.name == "depth_late" else DepthStatus.UNUSABLE
        return image

    def _message(
        self, header: Header, tolerance: float, is_stopped: Callable[[], bool]
    ) -> Image | CompressedImage | None:
        """Returns the depth message nearest to the stamp of an image; None if there is no depth camera.

        Raises:
            InputRejected: the nearest message is more than ``tolerance`` seconds away.
        """
        stamp = _nanoseconds(header)
        deadline = time.monotonic() + LONGEST_WAIT
        with self._arrived:
            while True:
                now = time.monotonic()
                if now - self._last_arrival > ALIVE:
                    self._messages.clear()
                if not self._messages:
                    return None
                gaps = [_nanoseconds(message.header) - stamp for message in self._messages]
                nearest = int(np.argmin(np.abs(gaps)))
                if abs(gaps[nearest]) <= tolerance * 1e9:
                    return self._messages[nearest]
                # Only messages that are slightly older than the image tell that its own is still on its way.
                if gaps[-1] > 0 or gaps[-1] < -ALIVE * 1e9 or now >= deadline or is_stopped():
                    break
                self._arrived.wait(deadline - now)
        gap = gaps[nearest] / 1e9
        raise InputRejected(
            "depth_late",
            f"the nearest depth image is {1000 * abs(gap):.0f} ms {'younger' if gap > 0 else 'older'} than the image, "
            f"more than depth_tolerance ({1000 * tolerance:.0f} ms): let the driver synchronise both streams, use the "
            "same rate for both, or check that both cameras use the same clock",
        )

    def _camera(
        self, depth_header: Header, header: Header, depth: np.ndarray, camera: Camera, rectified: bool
    ) -> tuple[Camera, Pose]:
        """Returns the camera of a depth image and its pose in the frame of the colour image.

        Raises:
            InputRejected: the calibration or the pose is unknown.
        """
        height, width = depth.shape
        aligned = depth_header.frame_id == header.frame_id
        info = self._info
        if info is None:
            # An aligned depth image has the camera of the colour image, at its own size.
            if aligned and abs(width / height * camera.height / camera.width - 1) < _ASPECT_TOLERANCE:
                return camera.resized(width, height), Pose.identity()
            raise InputRejected(
                "depth_no_camera_info",
                f"depth images arrive on {self._topic}, but no CameraInfo on "
                f"{self._node.resolve_topic_name('depth_camera_info')}: remap depth_camera_info to that of the depth "
                "camera",
            )
        if info.header.frame_id not in ("", depth_header.frame_id):
            raise InputRejected(
                "depth_camera_info_frame",
                f"depth images are in frame {depth_header.frame_id!r}, but their CameraInfo is in frame "
                f"{info.header.frame_id!r}: remap depth and depth_camera_info to the same camera",
            )
        try:
            depth_camera, _ = calibration(info).camera(width, height, rectified)
        except CalibrationError as error:
            raise InputRejected(f"depth_{error.name}", f"CameraInfo of the depth images: {error}") from error
        if aligned:
            return depth_camera, Pose.identity()
        self._needs_motion = True
        try:
            if self._motion is None:
                raise TransformUnavailable("TF has not been listened to yet")
            return depth_camera, self._motion.pose_in(header.frame_id, depth_header)
        except TransformUnavailable as error:
            raise InputRejected(
                "depth_no_transform",
                f"depth images are in frame {depth_header.frame_id!r}, colour images in {header.frame_id!r}, and "
                f"{error}: let the driver publish TF, or publish aligned depth images",
            ) from error


def _nanoseconds(header: Header) -> int:
    return int(Time.from_msg(header.stamp).nanoseconds)
