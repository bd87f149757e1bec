"""Synthetic recordings of a moving camera as bags with TF, with their ground truth beside them. They are cached."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tqdm import tqdm

from ...evaluation.recordings import RecordingLabels
from ...geometry.pose import Pose
from ...io.cache_files import own_cache_folder
from ...io.images import encode_image
from ...recording.bag_writer import BagWriter
from ...recording.bags import IMAGE_TYPES
from ...recording.message import Message
from ...synthetic.depth import STEREO
from ...synthetic.egocentric import EgocentricFrame, EgocentricRecording
from ...versions import RECORDINGS
from ..camera_info import camera_info
from .topics import CAMERA_INFO

WORLD, CAMERA_FRAME, DEPTH_FRAME = "odom", "camera_optical", "depth_optical"
_TF = "tf2_msgs/msg/TFMessage"
_START = 1000
"""Stamp of the first image in seconds."""
_LABELS = "labels.npz"
DEPTH_POSE = Pose(
    Rotation.from_rotvec(np.radians([0.08, -0.06, 0.05])).as_matrix(), STEREO.pose.position + (0.001, -0.001, 0.0008)
)
"""Pose of the depth camera by its calibration, which is off by about 1 mm and 0.1 degrees."""
_DEPTH_FORMAT, _DEPTH_HEADER = "16UC1; compressedDepth png", 12
"""Format of compressed depth images, and number of bytes before the PNG."""


def cached_recording(
    seed: int, seconds: float, split: str = "test", depth: bool = False
) -> tuple[Path, RecordingLabels]:
    """Returns the bag of a synthetic recording and its ground truth, which are rendered if they are not cached.

    Args:
        seed: Seed of the recording.
        seconds: Its duration.
        split: Split of the synthetic world.
        depth: Whether the bag contains the images of a depth camera.
    """
    name = f"v{RECORDINGS}_{split}_{seed}_{seconds:g}s" + ("_depth" if depth else "")
    folder = own_cache_folder("recordings") / name
    if not (folder / _LABELS).is_file():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        recording = EgocentricRecording(seed, seconds, split)
        frames = tqdm(range(recording.num_frames), desc=f"rendering {folder.name}", unit="frame", disable=None)
        images = map(recording.frame, frames)
        depths = (recording.depth(number, STEREO) for number in range(recording.num_frames)) if depth else None
        labels = write_recording(recording, images, partial / "bag", depths)
        labels.save(partial / _LABELS)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder / "bag", RecordingLabels.load(folder / _LABELS)


def write_recording(
    recording: EgocentricRecording,
    frames: Iterable[EgocentricFrame],
    folder: Path,
    depths: Iterator[np.ndarray] | None = None,
) -> RecordingLabels:
    """Writes images, CameraInfo and TF of frames to a new bag.

    Args:
        recording: The recording.
        frames: Its frames.
        folder: The new bag.
        depths: What a depth camera measures in each frame; None without one.

    Returns:
        The ground truth.
    """
    labels = []
    with BagWriter(folder) as writer:
        images = writer.topic("/camera/image/compressed", IMAGE_TYPES[1])
        infos = writer.topic("/camera/camera_info", CAMERA_INFO)
        transforms = writer.topic("/tf", _TF)
        if depths is not None:
            depth_images = writer.topic("/camera/depth/image_rect_raw/compressedDepth", IMAGE_TYPES[1])
            depth_infos = writer.topic("/camera/depth/camera_info", CAMERA_INFO)
        types = writer.types.types
        for frame in frames:
            nanoseconds = _START * 10**9 + round(frame.stamp * 1e9)
            stamp = types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

            def header(name: str, stamp: Message = stamp) -> Message:
                return types["std_msgs/msg/Header"](stamp=stamp, frame_id=name)

            def transform(pose: Pose, parent: Message, child: str, types: dict = types) -> Message:
                x, y, z, w = Rotation.from_matrix(pose.rotation).as_quat().tolist()
                translation = types["geometry_msgs/msg/Vector3"](*pose.position.tolist())
                rotation = types["geometry_msgs/msg/Quaternion"](x, y, z, w)
                return types["geometry_msgs/msg/TransformStamped"](
                    header=parent,
                    child_frame_id=child,
                    transform=types["geometry_msgs/msg/Transform"](translation, rotation),
                )

            poses = [transform(frame.camera_pose, header(WORLD), CAMERA_FRAME)]
            if depths is not None:
                poses.append(transform(DEPTH_POSE, header(CAMERA_FRAME), DEPTH_FRAME))
            jpeg = np.frombuffer(encode_image(frame.image, ".jpg"), np.uint8)
            image = types[IMAGE_TYPES[1]](header=header(CAMERA_FRAME), format="jpeg", data=jpeg)
            ros_stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
            info = camera_info(recording.camera, Header(stamp=ros_stamp, frame_id=CAMERA_FRAME))
            writer.write(transforms, nanoseconds, writer.types.serialize_cdr(types[_TF](transforms=poses), _TF))
            writer.write(infos, nanoseconds, serialize_message(info))
            writer.write(images, nanoseconds, writer.types.serialize_cdr(image, IMAGE_TYPES[1]))
            if depths is not None:
                info = camera_info(STEREO.camera, Header(stamp=ros_stamp, frame_id=DEPTH_FRAME))
                writer.write(depth_infos, nanoseconds, serialize_message(info))
                png = _depth_png(next(depths))
                image = types[IMAGE_TYPES[1]](header=header(DEPTH_FRAME), format=_DEPTH_FORMAT, data=png)
                writer.write(depth_images, nanoseconds, writer.types.serialize_cdr(image, IMAGE_TYPES[1]))
            labels.append(frame)
    return RecordingLabels.of(labels, _START, recording.hand_length)


def _depth_png(metres: np.ndarray) -> np.ndarray:
    """Returns the bytes of a depth image in the transport compressedDepth."""
    millimetres = np.round(metres * 1000).astype(np.uint16)
    png = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    return np.concatenate([np.zeros(_DEPTH_HEADER, np.uint8), png.ravel()])
