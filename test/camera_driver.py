"""Takes the place of camera drivers and robot_state_publisher in tests of launch files.

It announces what the program that it replaces would: images with their CameraInfo, or the fixed joints of a URDF.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from xml.etree import ElementTree

import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_samples import CAMERA
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.images import encode_image

FRAME_PARAMETERS = ("camera_frame_id", "frame_id")
"""The names under which drivers take the frame of the images."""


class Driver(Node):
    """Publishes black images of the sample camera, ten times a second."""

    def __init__(self) -> None:
        super().__init__("driver", automatically_declare_parameters_from_overrides=True)
        frames = [self.get_parameter(name).value for name in FRAME_PARAMETERS if self.has_parameter(name)]
        self._frame = frames[0] if frames else "camera_color_optical_frame"
        self._images = self.create_publisher(Image, "image_raw", 5)
        self._infos = self.create_publisher(CameraInfo, "camera_info", 5)
        self._pixels = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        self.create_timer(0.1, self._publish)

    def _publish(self) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame)
        self._infos.publish(camera_info(CAMERA, header))
        self._images.publish(encode_image(self._pixels, header))


class Robot(Node):
    """Publishes the fixed joints of the URDF in robot_description."""

    def __init__(self) -> None:
        super().__init__("robot")
        urdf = ElementTree.fromstring(self.declare_parameter("robot_description", "").value)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = self.create_publisher(TFMessage, "/tf_static", latched)
        self._publisher.publish(TFMessage(transforms=[joint_transform(joint) for joint in urdf.iter("joint")]))


def joint_transform(joint: ElementTree.Element) -> TransformStamped:
    xyz, rpy = ([float(word) for word in joint.find("origin").get(name).split()] for name in ("xyz", "rpy"))
    transform = TransformStamped(child_frame_id=joint.find("child").get("link"))
    transform.header.frame_id = joint.find("parent").get("link")
    transform.transform.translation.x, transform.transform.translation.y, transform.transform.translation.z = xyz
    q = transform.transform.rotation
    q.x, q.y, q.z, q.w = Rotation.from_euler("xyz", rpy).as_quat()
    return transform


if __name__ == "__main__":
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Robot() if sys.argv[1] == "robot_state_publisher" else Driver())
