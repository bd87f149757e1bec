"""Nodes as one first writes them, to compare with: ``naive``, and ``mediapipe`` as most hand nodes are.

Both take a raw image in a callback, work there, and publish; ``naive`` has this project's estimator, its messages and its markers, point by
point.
"""

from __future__ import annotations

import sys

import numpy as np
import rclpy
from cv_bridge import CvBridge
from geometry_msgs.msg import Point
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from ...estimator import Estimator
from ...geometry.calibration import IntrinsicsSource
from ...msg import Hand, HandArray
from ...types import HandEstimate, Side
from ..camera_info import calibration
from ..markers import COLOURS
from ..messages import hand_array


class Naive(Node):
    def __init__(self):
        super().__init__("naive")
        self._bridge, self._estimator, self._camera = CvBridge(), Estimator(), None
        self._hands = self.create_publisher(HandArray, "hands", 10)
        self._markers = self.create_publisher(MarkerArray, "hands/markers", 10)
        self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, 10)
        self.create_subscription(Image, "image", self._on_image, 10)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera, _ = calibration(message).camera(message.width, message.height, rectified=False)

    def _on_image(self, message: Image) -> None:
        if self._camera is None:
            return
        stamp = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
        frame = self._estimator(self._bridge.imgmsg_to_cv2(message, "rgb8"), self._camera, stamp)
        self._hands.publish(hand_array(frame, message.header, IntrinsicsSource.CAMERA_INFO, "open"))
        self._markers.publish(naive_markers(frame.hands, message.header, self._estimator))


def naive_markers(hands: tuple[HandEstimate, ...], header: Header, estimator: Estimator) -> MarkerArray:
    """Every corner of every triangle a ``Point`` of its own."""
    markers = MarkerArray()
    for i, hand in enumerate(hands):
        marker = Marker(
            header=header, ns="hands", id=i, type=Marker.TRIANGLE_LIST, action=Marker.ADD, color=COLOURS[hand.side]
        )
        marker.scale.x = marker.scale.y = marker.scale.z = 1.0
        for x, y, z in hand.vertices[estimator.faces[hand.side].ravel()].tolist():
            marker.points.append(Point(x=x, y=y, z=z))
        markers.markers.append(marker)
    return markers


class MediaPipeOnly(Node):
    """21 landmarks in the image and about the hand's centre: no camera, no mesh, no place in space."""

    def __init__(self):
        from mediapipe.python.solutions.hands import Hands

        super().__init__("mediapipe_only")
        self._bridge, self._mediapipe = CvBridge(), Hands(max_num_hands=2)
        self._hands = self.create_publisher(HandArray, "hands", 10)
        self.create_subscription(Image, "image", self._on_image, 10)

    def _on_image(self, message: Image) -> None:
        found = self._mediapipe.process(self._bridge.imgmsg_to_cv2(message, "rgb8"))
        hands = []
        for landmarks, world, side in zip(
            found.multi_hand_landmarks or (),
            found.multi_hand_world_landmarks or (),
            found.multi_handedness or (),
            strict=True,
        ):
            # The label is for a mirrored picture.
            right = side.classification[0].label == Side.LEFT.value.capitalize()
            in_image = [(point.x * message.width, point.y * message.height) for point in landmarks.landmark]
            about_centre = [(point.x, point.y, point.z) for point in world.landmark]
            hand = Hand(side=Hand.SIDE_RIGHT if right else Hand.SIDE_LEFT)
            hand.joints_2d, hand.joints = (
                np.array(in_image, np.float32).ravel(),
                np.array(about_centre, np.float32).ravel(),
            )
            hands.append(hand)
        self._hands.publish(HandArray(header=message.header, width=message.width, height=message.height, hands=hands))


PEERS = {"naive": Naive, "mediapipe": MediaPipeOnly}


def main() -> int:
    rclpy.init()
    node = PEERS[sys.argv[1]]()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
