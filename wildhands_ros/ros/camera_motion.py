"""The one TF lookup of the package: the pose of a moving camera at the time of an image."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from ..geometry.pose import Pose
from .frame_ids import tf_frame

try:
    import tf2_ros
except ImportError:  # Not among the PyPI wheels; every ROS distribution has it.
    tf2_ros = None


WAIT = 0.1
"""Seconds for which ``wait_for_pose`` waits for TF, which often arrives after the image."""
RETRY = 1.0
"""Seconds after a wait in vain for which ``wait_for_pose`` does not wait again: a dead TF publisher must not slow down
the images."""
POLL = 0.005
"""Seconds between two lookups."""


class TransformUnavailable(LookupError):
    """TF does not know the camera's pose. The text does not change from image to image; the cause has the details."""


class TransformPending(TransformUnavailable):
    """TF connects the two frames, but not yet (or no longer) at the time of the image."""


class CameraMotion:
    """Looks up the pose of the camera in a given frame. Without tf2_ros every lookup fails; see ``is_available``."""

    def __init__(self, node: Node, frame_id: str):
        """Subscribes to TF.

        Args:
            node: the node that subscribes to /tf and /tf_static; its executor receives the transforms.
            frame_id: frame in which the pose of the camera is returned, for example "odom".
        """
        self._frame_id = frame_id
        self._wait_again = 0.0
        self.buffer = tf2_ros.Buffer() if self.is_available() else None
        """The received transforms; None without tf2_ros."""
        self._listener = tf2_ros.TransformListener(self.buffer, node) if self.is_available() else None

    @staticmethod
    def is_available() -> bool:
        """Returns whether tf2_ros is installed."""
        return tf2_ros is not None

    def close(self) -> None:
        """Ends the subscriptions."""
        if self._listener is not None:
            self._listener.unregister()

    def clear(self) -> None:
        """Clears all transforms except the static ones.

        Call it when the clock has jumped back: TF would otherwise reject new transforms as too old.
        """
        if self.buffer is not None:
            self.buffer.clear()

    def pose(self, header: Header) -> Pose:
        """Returns the pose of the camera in ``frame_id`` at the time of an image. Never waits.

        Args:
            header: header of the image.

        Raises:
            TransformPending: TF does not cover the time of the image; a moment later it may.
            TransformUnavailable: TF does not connect the frames, or the transform is invalid.
        """
        return self.pose_in(self._frame_id, header)

    def pose_in(self, frame_id: str, header: Header) -> Pose:
        """Returns the same as ``pose``, in any frame. Raises the same errors."""
        if self.buffer is None:
            raise TransformUnavailable("tf2_ros is not installed; install it from your ROS distribution")
        camera_frame, frame_id = tf_frame(header.frame_id), tf_frame(frame_id)
        if not camera_frame:
            raise TransformUnavailable("the images have no frame_id: set it in the camera driver")
        if header.stamp.sec < 0:
            raise TransformUnavailable(f"a stamp of the images is {header.stamp.sec} s, for which TF has no transforms")
        frames = f"from {camera_frame!r} to {frame_id!r}"
        try:
            found = self.buffer.lookup_transform(frame_id, camera_frame, Time.from_msg(header.stamp)).transform
        except tf2_ros.ExtrapolationException as error:
            raise TransformPending(f"TF has no transform {frames} at the time of the images") from error
        except tf2_ros.TransformException as error:
            raise TransformUnavailable(f"TF has no transform {frames} ({type(error).__name__})") from error
        try:
            return Pose.from_message(found.translation, found.rotation)
        except ValueError as error:
            raise TransformUnavailable(f"the TF transform {frames} contains NaN or a zero quaternion") from error

    def wait_for_pose(self, header: Header, is_stopped: Callable[[], bool] = lambda: False) -> Pose:
        """Returns the same as ``pose``, but waits a bounded time for TF to cover the time of the image.

        Not to be called in the executor's thread, which receives TF.

        Args:
            header: header of the image.
            is_stopped: returns whether waiting has become pointless.

        Raises:
            TransformUnavailable: as for ``pose``.
        """
        start = time.monotonic()
        deadline = start + WAIT if start >= self._wait_again else start
        while True:
            try:
                return self.pose(header)
            except TransformPending:
                if time.monotonic() >= deadline or is_stopped():
                    if deadline > start:
                        self._wait_again = time.monotonic() + RETRY
                    raise
            time.sleep(POLL)
