"""Small recordings of the demo clip with a camera whose pose is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rosbags.interfaces as rosbag
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.io.camera_files import load_calibration
from wildhands_ros.io.images import encode_image
from wildhands_ros.io.sources import open_source
from wildhands_ros.recording.bags import Bag

DEMO = Path(__file__).parent.parent / "demo"
CALIBRATION = load_calibration(DEMO / "camera_info.yaml")
FRAME_ID = "camera_optical"
START = 100.0
"""Stamp of the first image in seconds."""
PERIOD = 1 / 30
ANNOTATED_IMAGES = 9
"""Images of the recording ``annotated_bag``."""
MOUNT = Pose(Rotation.from_euler("xyz", [-90, 0, -90], degrees=True).as_matrix(), np.array([0.05, 0.0, 0.02]))
"""The camera in the head."""
IMAGE, INFO, TF, ODOMETRY = (
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
    "tf2_msgs/msg/TFMessage",
    "nav_msgs/msg/Odometry",
)


def head_pose(time: float) -> Pose:
    """Returns the pose of the head in odom at a stamp."""
    t = time - START
    return Pose(Rotation.from_rotvec([0.1, 0.3 * t, 0.5 * t]).as_matrix(), np.array([0.4 * t, 0.1, 1.2]))


def camera_info(types, kind: str, header, names: str = "dkrp"):
    """Returns the clip's CameraInfo for rosbags.

    Args:
        types: Message classes by name.
        kind: Name of the message.
        header: Its header.
        names: Names of distortion, K, R and P; capitals in ROS 1.
    """
    of = CALIBRATION
    return _camera_info(types, kind, header, (of.width, of.height, of.distortion_model, of.d, of.k, of.p), names)


def _camera_info(types, kind: str, header, calibration: tuple, names: str = "dkrp"):
    width, height, model, d, k, p = calibration
    return types[kind](
        header=header,
        height=height,
        width=width,
        distortion_model=model,
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        **{name: np.array(value, float).ravel() for name, value in zip(names, (d, k, np.eye(3), p), strict=True)},
    )


def through_jpeg(image: np.ndarray) -> np.ndarray:
    """Returns an image as it is read from a bag that ``BagSample`` wrote."""
    data = np.frombuffer(encode_image(image, ".jpg"), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


class BagSample:
    """Collects messages and writes them to a bag in the order of receipt."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self.types = self._store.types
        self._messages: list[tuple[float, str, str, object]] = []

    def add(self, received: float, topic: str, kind: str, message) -> None:
        """Adds a message that was received at a time in seconds."""
        self._messages.append((received, topic, kind, message))

    def header(self, time: float, frame: str):
        nanoseconds = round(time * 1e9)
        stamp = self.types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return self.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)

    def vector(self, kind: str, values: np.ndarray):
        return self.types[f"geometry_msgs/msg/{kind}"](**dict(zip("xyzw", map(float, values), strict=False)))

    def transform(self, time: float, parent: str, child: str, pose: Pose):
        inner = self.types["geometry_msgs/msg/Transform"](
            translation=self.vector("Vector3", pose.position),
            rotation=self.vector("Quaternion", Rotation.from_matrix(pose.rotation).as_quat()),
        )
        return self.types["geometry_msgs/msg/TransformStamped"](
            header=self.header(time, parent), child_frame_id=child, transform=inner
        )

    def info(self, header, camera: Camera):
        """Returns the CameraInfo of a camera."""
        p = np.column_stack([camera.k, np.zeros(3)])
        return _camera_info(
            self.types, INFO, header, (camera.width, camera.height, camera.distortion_model, camera.d, camera.k, p)
        )

    def depth(self, header, metres: np.ndarray):
        """Returns a depth image in millimetres."""
        millimetres = np.round(metres * 1000).astype("<u2")
        height, width = millimetres.shape
        return self.types["sensor_msgs/msg/Image"](
            header=header,
            height=height,
            width=width,
            encoding="16UC1",
            is_bigendian=0,
            step=2 * width,
            data=millimetres.view(np.uint8).ravel(),
        )

    def add_image(self, namespace: str, stamp: float, frame: str, image: np.ndarray, received: float | None = None):
        """Adds an image as JPEG and the CameraInfo of the clip."""
        received = stamp if received is None else received
        header = self.header(stamp, frame)
        data = np.frombuffer(encode_image(image, ".jpg"), np.uint8)
        self.add(received, f"{namespace}/image/compressed", IMAGE, self.types[IMAGE](header, "jpeg", data))
        self.add(received, f"{namespace}/camera_info", INFO, camera_info(self.types, INFO, header))

    def write(self, folder: Path) -> Path:
        """Writes all messages to a new bag."""
        with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            topics = {}
            for received, topic, kind, message in sorted(self._messages, key=lambda item: item[0]):
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, kind, typestore=self._store)
                writer.write(topics[topic], round(received * 1e9), self._store.serialize_cdr(message, kind))
        return folder


def write_messages(path: Path, messages: Iterable[tuple[rosbag.Connection, int, bytes]]) -> Path:
    """Writes messages as ``Bag.messages`` yields them, whatever their data are, to an MCAP file."""
    from mcap.writer import CompressionType, Writer

    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        channels: dict[str, int] = {}
        for topic, received, data in messages:
            if topic.topic not in channels:
                schema = writer.register_schema(topic.msgtype, "ros2msg", topic.msgdef.data.encode())
                channels[topic.topic] = writer.register_channel(topic.topic, "cdr", schema)
            writer.add_message(channels[topic.topic], received, bytes(data), received)
        writer.finish()
    return path


def altered(bag_path: Path, path: Path, change: Callable[[str, Any], None]) -> Path:
    """Copies a recording; ``change``, given the topic and a message, alters each message in place."""
    with Bag(bag_path) as bag:
        messages = []
        for topic, received, data in bag.messages():
            message = bag.read(topic, data)
            change(topic.topic, message)
            messages.append((topic, received, bag.types.serialize_cdr(message, topic.msgtype)))
        return write_messages(path, messages)


def write_bag(
    folder: Path,
    images: int = 4,
    tf_times: Sequence[float] = (),
    odometry_times: Sequence[float] = (),
    shift: Callable[[float], np.ndarray] = lambda _: np.zeros(3),
    with_mount: bool = True,
    stamps: Sequence[float] = (),
    received: Sequence[float] = (),
) -> Path:
    """Writes images of the demo clip, and the pose of the head as TF or odometry.

    Args:
        folder: The new bag.
        images: Number of images.
        tf_times: Stamps of odom -> head in TF.
        odometry_times: Stamps of the odometry of the head.
        shift: Added to the head's positions, by time.
        with_mount: Whether static TF has the camera in the head.
        stamps: Stamps of the images in seconds; empty for 30 Hz.
        received: When the images were received, in seconds; empty for their stamps.
    """
    sample = BagSample()
    types = sample.types

    def moved(time: float) -> Pose:
        pose = head_pose(time)
        return Pose(pose.rotation, pose.position + shift(time))

    def odometry(time: float):
        pose = moved(time)
        inner = types["geometry_msgs/msg/Pose"](
            position=sample.vector("Point", pose.position),
            orientation=sample.vector("Quaternion", Rotation.from_matrix(pose.rotation).as_quat()),
        )
        zero = sample.vector("Vector3", np.zeros(3))
        twist = types["geometry_msgs/msg/Twist"](linear=zero, angular=zero)
        return types[ODOMETRY](
            header=sample.header(time, "odom"),
            child_frame_id="head",
            pose=types["geometry_msgs/msg/PoseWithCovariance"](pose=inner, covariance=np.zeros(36)),
            twist=types["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=np.zeros(36)),
        )

    if with_mount:
        static = types[TF](transforms=[sample.transform(START, "head", FRAME_ID, MOUNT)])
        sample.add(START - 1, "/tf_static", TF, static)
    for time in tf_times:
        sample.add(time, "/tf", TF, types[TF](transforms=[sample.transform(time, "odom", "head", moved(time))]))
    for time in odometry_times:
        sample.add(time, "/odometry", ODOMETRY, odometry(time))
    stamps = stamps or (START + PERIOD * np.arange(images)).tolist()
    for stamp, at, frame in zip(stamps, received or stamps, open_source(str(DEMO / "clip.mp4")), strict=False):
        sample.add_image("/camera", stamp, FRAME_ID, frame.image, at)
    return sample.write(folder)
