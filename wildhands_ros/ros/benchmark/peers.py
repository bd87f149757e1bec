"""Comparable nodes: ``naive``, a simple node with this package's estimator, and ``mediapipe``, like most hand
tracking nodes.

Both process a raw image in the subscription callback and publish there.
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
from ...geometry.camera import Camera
from ...msg import Hand, HandArray
from ...types import HandEstimate, Side
from ..camera_info import calibration
from ..markers import COLOURS
from ..messages import hand_array
from ..shutdown import shut_down


class Naive(Node):
    """This package's estimator, messages and markers, written as one would first write them."""

    def __init__(self) -> None:
        super().__init__("naive")
        self._bridge, self._estimator = CvBridge(), Estimator()
        self._camera: Camera | None = None
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
        self._markers.publish(_naive_markers(frame.hands, message.header, self._estimator))


def _naive_markers(hands: tuple[HandEstimate, ...], header: Header, estimator: Estimator) -> MarkerArray:
    """Builds markers with a ``Point`` object for every corner of every triangle."""
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
    """MediaPipe's 21 landmarks, in the image and around the hand's centre: no camera, no mesh, no position in space."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.hands import Hands

        super().__init__("mediapipe_only")
        self._bridge, self._mediapipe = CvBridge(), Hands(max_num_hands=2)
        self._hands = self.create_publisher(HandArray, "hands", 10)
        self.create_subscription(Image, "image", self._on_image, 10)

    def _on_image(self, message: Image) -> None:
        found = self._mediapipe.process(self._bridge.imgmsg_to_cv2(message, "rgb8"))
        hands = []
        for landmarks, world_landmarks, side in zip(
            found.multi_hand_landmarks or (),
            found.multi_hand_world_landmarks or (),
            found.multi_handedness or (),
            strict=True,
        ):
            # MediaPipe's label is for a mirrored image.
            right = side.classification[0].label == Side.LEFT.value.capitalize()
            hand = Hand(side=Hand.SIDE_RIGHT if right else Hand.SIDE_LEFT)
            joints_2d = [(point.x * message.width, point.y * message.height) for point in landmarks.landmark]
            joints = [(point.x, point.y, point.z) for point in world_landmarks.landmark]
            hand.joints_2d = np.array(joints_2d, np.float32).ravel()
            hand.joints = np.array(joints, np.float32).ravel()
            hands.append(hand)
        self._hands.publish(HandArray(header=message.header, width=message.width, height=message.height, hands=hands))


PEERS = {"naive": Naive, "mediapipe": MediaPipeOnly}


def main() -> int:
    """Runs the node whose name is the first argument."""
    rclpy.init()
    node = PEERS[sys.argv[1]]()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
