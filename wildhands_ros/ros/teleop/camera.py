"""Where a camera that moves was when it took an image: TF's answer."""

from __future__ import annotations

from geometry_msgs.msg import Point
from geometry_msgs.msg import Pose as PoseMessage
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from ...teleop.observation import Pose
from ..declaration import ParameterError
from ..rejections import InputRejected
from .messages import pose


class NotYet(InputRejected):
    """TF does not reach the image's stamp; mostly it will within milliseconds."""


class MovingCamera:
    """Asks TF."""

    def __init__(self, node: Node, target_frame: str):
        """:raises ParameterError: tf2_ros is not installed."""
        try:
            import tf2_ros
        except ImportError as error:
            raise ParameterError(
                "target_frame needs tf2_ros, or camera.position and camera.orientation for a camera that does not move"
            ) from error
        self._tf, self._target = tf2_ros, target_frame
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def __call__(self, header: Header) -> Pose:
        """The camera's pose in the target frame at the header's stamp. Never waits.

        :raises NotYet: TF knows the way, but not for that time.
        :raises InputRejected: it is unknown.
        """
        way = f"from {header.frame_id!r} to {self._target!r}"
        try:
            found = self._buffer.lookup_transform(self._target, header.frame_id, Time.from_msg(header.stamp)).transform
        except self._tf.ExtrapolationException as error:
            text = f"TF does not lead {way} at the images' time; is its publisher alive, and are the clocks the same? ({error})"
            raise NotYet("no_transform", text) from error
        except self._tf.TransformException as error:
            raise InputRejected("no_transform", f"no transform {way}: {error}") from error
        t = found.translation
        if (camera := pose(PoseMessage(position=Point(x=t.x, y=t.y, z=t.z), orientation=found.rotation))) is None:
            raise InputRejected("no_transform", f"the transform {way} holds NaN or no rotation")
        return camera

    def clear(self) -> None:
        """Forgets what moves, so that TF whose time ran back is not refused as old. Static transforms stay: tf2 keeps them."""
        self._buffer.clear()
