"""The frame in which the node smooths hands: the camera's, or a fixed one to which TF knows the camera's pose."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from ..geometry.pose import Pose
from .diagnostics import Health

try:
    import tf2_ros
except ImportError:  # not available as a wheel, but part of every ROS distribution
    tf2_ros = None


class SmoothingFrame:
    """Looks up the camera's pose in the parameter ``smoothing.frame``; without one, hands are smoothed in the camera frame.

    If TF does not know the pose, the camera is assumed to be at rest, and the diagnostics warn.
    """

    def __init__(self, node: Node, frame: str, health: Health):
        self._motion = CameraMotion(node, frame) if frame else None
        self._health = health

    def close(self) -> None:
        """Stops listening to TF."""
        if self._motion is not None:
            self._motion.close()

    def clock_ran_back(self) -> None:
        """Forgets earlier poses: TF would reject everything older than them."""
        if self._motion is not None:
            self._motion.forget()

    def camera_pose(self, header: Header) -> Pose | None:
        """Returns the camera's pose for the image with this header; None to smooth in the camera frame."""
        if self._motion is None:
            return None
        try:
            pose = self._motion(header)
        except LookupError as error:
            self._health.set_warning("smoothing", f"hands are smoothed as if the camera were at rest: {error}")
            return None
        self._health.set_warning("smoothing", "")
        return pose


class CameraMotion:
    """Looks up in TF where the camera was when it took an image."""

    def __init__(self, node: Node, fixed_frame: str):
        self._frame, self._listener = fixed_frame, None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer()
            self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Stops listening."""
        if self._listener is not None:
            self._listener.unregister()

    def forget(self) -> None:
        """Drops all transforms except the static ones."""
        if self._listener is not None:
            self._buffer.clear()

    def __call__(self, header: Header) -> Pose:
        """Returns the camera's pose. It never waits: by the time an image's hands are known, TF has usually arrived.

        Raises:
            LookupError: The pose is unknown; the message gives the reason.
        """
        if self._listener is None:
            raise LookupError(
                "smoothing.frame needs tf2_ros; install it from your ROS distribution, or empty the parameter"
            )
        try:
            found = self._buffer.lookup_transform(self._frame, header.frame_id, Time.from_msg(header.stamp)).transform
        except tf2_ros.TransformException as error:
            # The text of the error itself is left out, because its times change with every image.
            kind = type(error).__name__
            raise LookupError(
                f"TF does not lead from {header.frame_id!r} to {self._frame!r} at the images' time ({kind})"
            ) from error
        q, p = found.rotation, found.translation
        return Pose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), np.array([p.x, p.y, p.z]))
