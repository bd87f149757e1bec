"""The node's smoothing: in the camera's frame, or in another one to which TF knows the camera's way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from ..geometry.pose import Pose
from ..hand_model.asset import HandAsset
from ..smoothing.hands import HandSmoother
from ..types import FrameEstimate, Side
from .diagnostics import Health
from .parameters import Parameters

try:
    import tf2_ros
except ImportError:  # not among the wheels; every ROS distribution has it
    tf2_ros = None


class StreamSmoother:
    """Smooths one stream's frames. Where TF does not know the camera's pose, the camera is taken to be at rest, and that is said."""

    def __init__(self, node: Node, parameters: Parameters, hand_model: Mapping[Side, HandAsset], health: Health):
        """``hand_model``: the hand of each side that the estimates are of."""
        self._smoother = HandSmoother(hand_model, parameters.smoothing)
        self._motion = CameraMotion(node, parameters.smoothing__frame) if parameters.smoothing__frame else None
        self._health = health

    def close(self) -> None:
        """Stops listening to TF."""
        if self._motion is not None:
            self._motion.close()

    def reset(self) -> None:
        """Forgets all hands."""
        self._smoother.reset()

    def clock_ran_back(self) -> None:
        """Forgets where the camera was: TF would refuse what is older than that."""
        if self._motion is not None:
            self._motion.forget()

    def __call__(self, frame: FrameEstimate, seconds: float, header: Header) -> FrameEstimate:
        """The hands of the image with this header, at ``seconds`` of the stream."""
        pose = None
        if self._motion is not None and frame.hands:
            try:
                pose = self._motion(header)
                self._health.set_warning("smoothing", "")
            except LookupError as error:
                self._health.set_warning("smoothing", f"hands are smoothed as if the camera were at rest: {error}")
        return self._smoother(frame, seconds, pose)


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
        """Drops all transforms but the static ones."""
        if self._listener is not None:
            self._buffer.clear()

    def __call__(self, header: Header) -> Pose:
        """Never waits: by the time an image's hands are known, TF has mostly arrived.

        :raises LookupError: it is not known, with the reason.
        """
        if self._listener is None:
            raise LookupError(
                "smoothing.frame needs tf2_ros; install it from your ROS distribution, or empty the parameter"
            )
        try:
            found = self._buffer.lookup_transform(self._frame, header.frame_id, Time.from_msg(header.stamp)).transform
        except tf2_ros.TransformException as error:
            # Not the error's own text, in which the times change with every image.
            kind = type(error).__name__
            raise LookupError(
                f"TF does not lead from {header.frame_id!r} to {self._frame!r} at the images' time ({kind})"
            ) from error
        q, p = found.rotation, found.translation
        return Pose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), np.array([p.x, p.y, p.z]))
