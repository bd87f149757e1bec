"""The node's smoothing: in the camera's frame, or in another one to which TF knows the camera's way."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from rclpy.node import Node
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from ..hand_model.asset import HandAsset
from ..smoothing.hands import CameraPose, HandSmoother, SmoothingConfig
from ..structures import FrameEstimate, Side

LookUp = Callable[[Header], CameraPose]
"""The camera's pose at a header's time; raises LookupError with the reason where it is not known."""


class StreamSmoother:
    """Smooths a stream's frames. Where TF does not know the camera's pose, the camera is taken to be at rest, and that is said.

    Args:
        hand_model: the hand of each side that the estimates are of.
        config: how much.
        look_up: None to smooth in the camera's frame.
        note: is told what is wrong with TF, and the empty text once all is well.
    """

    def __init__(self, hand_model: Mapping[Side, HandAsset], config: SmoothingConfig, look_up: LookUp | None, note: Callable[[str], None]):
        self._smoother = HandSmoother(hand_model, config)
        self._look_up, self._note = look_up, note

    def reset(self) -> None:
        """Forgets all hands."""
        self._smoother.reset()

    def __call__(self, frame: FrameEstimate, seconds: float, header: Header) -> FrameEstimate:
        """The hands of the image with this header, at ``seconds`` of the stream."""
        pose = None
        if self._look_up is not None and frame.hands:
            try:
                pose = self._look_up(header)
                self._note("")
            except LookupError as error:
                self._note(str(error))
        return self._smoother(frame, seconds, pose)


class CameraMotion:
    """Looks up in TF where the camera was when it took an image."""

    def __init__(self, node: Node, fixed_frame: str):
        """:raises ImportError: tf2_ros is not installed."""
        try:
            import tf2_ros
        except ImportError as error:
            raise ImportError(
                "smoothing.frame needs tf2_ros, which comes with ROS distributions: install it, or empty the parameter"
            ) from error
        self._errors = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._frame = fixed_frame

    def __call__(self, header: Header) -> CameraPose:
        """Never waits: by the time an image's hands are known, TF has mostly arrived."""
        try:
            found = self._buffer.lookup_transform(self._frame, header.frame_id, Time.from_msg(header.stamp)).transform
        except self._errors as error:
            raise LookupError(
                f"hands are smoothed as if the camera were at rest: TF does not lead from {header.frame_id!r} to smoothing.frame: {error}"
            ) from error
        q, p = found.rotation, found.translation
        return CameraPose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), np.array([p.x, p.y, p.z]))

    def close(self) -> None:
        """Stops listening to TF."""
        self._listener.unregister()
