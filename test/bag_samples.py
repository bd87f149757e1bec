"""Small recordings of the demo clip with a camera whose pose is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.pose import Pose
from wildhands_ros.io.camera_files import load_calibration
from wildhands_ros.io.images import encode_image
from wildhands_ros.io.sources import open_source

DEMO = Path(__file__).parent.parent / "demo"
CALIBRATION = load_calibration(DEMO / "camera_info.yaml")
FRAME_ID = "camera_optical"
START = 100.0
"""Stamp of the first image in seconds."""
PERIOD = 1 / 30
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
    values = zip(names, (CALIBRATION.d, CALIBRATION.k, np.eye(3).ravel(), CALIBRATION.p), strict=True)
    return types[kind](
        header=header,
        height=CALIBRATION.height,
        width=CALIBRATION.width,
        distortion_model=CALIBRATION.distortion_model,
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        **{name: np.array(value, float) for name, value in values},
    )


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
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types

    def header(time: float, frame: str):
        nanoseconds = round(time * 1e9)
        stamp = types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)

    def vector(kind: str, values: np.ndarray):
        return types[f"geometry_msgs/msg/{kind}"](**dict(zip("xyzw", map(float, values), strict=False)))

    def transform(time: float, parent: str, child: str, pose: Pose):
        inner = types["geometry_msgs/msg/Transform"](
            translation=vector("Vector3", pose.position),
            rotation=vector("Quaternion", Rotation.from_matrix(pose.rotation).as_quat()),
        )
        return types["geometry_msgs/msg/TransformStamped"](
            header=header(time, parent), child_frame_id=child, transform=inner
        )

    def moved(time: float) -> Pose:
        pose = head_pose(time)
        return Pose(pose.rotation, pose.position + shift(time))

    def odometry(time: float):
        pose = moved(time)
        inner = types["geometry_msgs/msg/Pose"](
            position=vector("Point", pose.position),
            orientation=vector("Quaternion", Rotation.from_matrix(pose.rotation).as_quat()),
        )
        zero = vector("Vector3", np.zeros(3))
        twist = types["geometry_msgs/msg/Twist"](linear=zero, angular=zero)
        return types[ODOMETRY](
            header=header(time, "odom"),
            child_frame_id="head",
            pose=types["geometry_msgs/msg/PoseWithCovariance"](pose=inner, covariance=np.zeros(36)),
            twist=types["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=np.zeros(36)),
        )

    messages = []
    if with_mount:
        static = types[TF](transforms=[transform(START, "head", FRAME_ID, MOUNT)])
        messages.append((START - 1, "/tf_static", TF, static))
    messages += [
        (time, "/tf", TF, types[TF](transforms=[transform(time, "odom", "head", moved(time))])) for time in tf_times
    ]
    messages += [(time, "/odometry", ODOMETRY, odometry(time)) for time in odometry_times]
    stamps = stamps or (START + PERIOD * np.arange(images)).tolist()
    for stamp, at, frame in zip(stamps, received or stamps, open_source(str(DEMO / "clip.mp4")), strict=False):
        data = np.frombuffer(encode_image(frame.image, ".jpg"), np.uint8)
        image = types[IMAGE](header=header(stamp, FRAME_ID), format="jpeg", data=data)
        messages.append((at, "/camera/image/compressed", IMAGE, image))
        messages.append((at, "/camera/camera_info", INFO, camera_info(types, INFO, header(stamp, FRAME_ID))))
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = {}
        for received, topic, kind, message in sorted(messages, key=lambda item: item[0]):
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(topics[topic], round(received * 1e9), store.serialize_cdr(message, kind))
    return folder
