"""Synthetic recordings of a moving camera as bags with TF, with their ground truth beside them. They are cached."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tqdm import tqdm

from ...evaluation.recordings import RecordingLabels
from ...io.cache_files import own_cache_folder
from ...io.images import encode_image
from ...recording.bag_writer import BagWriter
from ...recording.bags import IMAGE_TYPES
from ...recording.message import Message
from ...synthetic.egocentric import EgocentricFrame, EgocentricRecording
from ...versions import RECORDINGS
from ..camera_info import camera_info
from .topics import CAMERA_INFO

WORLD, CAMERA_FRAME = "odom", "camera_optical"
_TF = "tf2_msgs/msg/TFMessage"
_START = 1000
"""Stamp of the first image in seconds."""
_LABELS = "labels.npz"


def cached_recording(seed: int, seconds: float, split: str = "test") -> tuple[Path, RecordingLabels]:
    """Returns the bag of a synthetic recording and its ground truth, which are rendered if they are not cached.

    Args:
        seed: Seed of the recording.
        seconds: Its duration.
        split: Split of the synthetic world.
    """
    folder = own_cache_folder("recordings") / f"v{RECORDINGS}_{split}_{seed}_{seconds:g}s"
    if not (folder / _LABELS).is_file():
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        recording = EgocentricRecording(seed, seconds, split)
        frames = tqdm(range(recording.num_frames), desc=f"rendering {folder.name}", unit="frame", disable=None)
        labels = write_recording(recording, map(recording.frame, frames), partial / "bag")
        labels.save(partial / _LABELS)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder / "bag", RecordingLabels.load(folder / _LABELS)


def write_recording(recording: EgocentricRecording, frames: Iterable[EgocentricFrame], folder: Path) -> RecordingLabels:
    """Writes images, CameraInfo and TF of frames to a new bag, and returns their ground truth."""
    labels = []
    with BagWriter(folder) as writer:
        images = writer.topic("/camera/image/compressed", IMAGE_TYPES[1])
        infos = writer.topic("/camera/camera_info", CAMERA_INFO)
        transforms = writer.topic("/tf", _TF)
        types = writer.types.types
        for frame in frames:
            nanoseconds = _START * 10**9 + round(frame.stamp * 1e9)
            stamp = types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)

            def header(name: str, stamp: Message = stamp) -> Message:
                return types["std_msgs/msg/Header"](stamp=stamp, frame_id=name)

            x, y, z, w = Rotation.from_matrix(frame.camera_pose.rotation).as_quat().tolist()
            translation = types["geometry_msgs/msg/Vector3"](*frame.camera_pose.position.tolist())
            rotation = types["geometry_msgs/msg/Quaternion"](x, y, z, w)
            transform = types["geometry_msgs/msg/TransformStamped"](
                header=header(WORLD),
                child_frame_id=CAMERA_FRAME,
                transform=types["geometry_msgs/msg/Transform"](translation, rotation),
            )
            jpeg = np.frombuffer(encode_image(frame.image, ".jpg"), np.uint8)
            image = types[IMAGE_TYPES[1]](header=header(CAMERA_FRAME), format="jpeg", data=jpeg)
            ros_stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
            info = camera_info(recording.camera, Header(stamp=ros_stamp, frame_id=CAMERA_FRAME))
            writer.write(transforms, nanoseconds, writer.types.serialize_cdr(types[_TF](transforms=[transform]), _TF))
            writer.write(infos, nanoseconds, serialize_message(info))
            writer.write(images, nanoseconds, writer.types.serialize_cdr(image, IMAGE_TYPES[1]))
            labels.append(frame)
    return RecordingLabels.of(labels, _START)
