"""A node of your own: publishes where a hand pinches. Start wildhands_node, and beside it this node:

ros2 launch wildhands_ros wildhands.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info
python examples/my_hand_node.py --ros-args -p closed:=0.03
"""

import contextlib

import numpy as np
import rclpy
from geometry_msgs.msg import PointStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from wildhands_ros.msg import Hand, HandArray


class PinchNode(Node):
    def __init__(self) -> None:
        super().__init__("pinch")
        self.closed = self.declare_parameter("closed", 0.03).value  # metres between the tips of thumb and index finger
        self.publisher = self.create_publisher(PointStamped, "pinch", 10)
        self.create_subscription(HandArray, "hands", self.on_hands, 10)

    def on_hands(self, message: HandArray) -> None:
        for hand in message.hands:
            joints = np.reshape(hand.joints, (21, 3))  # metres, in the frame of the image's header
            thumb, index = joints[Hand.THUMB_TIP], joints[Hand.INDEX_TIP]
            if np.linalg.norm(thumb - index) < self.closed:
                point = PointStamped(header=message.header)
                point.point.x, point.point.y, point.point.z = ((thumb + index) / 2).tolist()
                self.publisher.publish(point)


def main() -> None:
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PinchNode())


if __name__ == "__main__":
    main()
