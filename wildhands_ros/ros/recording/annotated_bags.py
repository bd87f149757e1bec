"""Writes annotated bags: the original topics or the images of a video, and the hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rosbags.interfaces as rosbag
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import serialize_message
from rosbags.typesys.store import Typestore
from std_msgs.msg import Header

from ...geometry.so3 import quaternions_from_matrices
from ...hand_model.asset import HandAsset
from ...hand_model.placement import HandPlacement
from ...recording.bag_writer import BagWriter
from ...recording.bags import IMAGE_TYPES, Bag
from ...recording.demonstrations import CAMERA_POSE_TOPIC, WORLD_HANDS_TOPIC
from ...recording.message import Message
from ...recording.segments import AnnotatedFrame
from ...types import Side
from ..camera_info import camera_info
from ..messages import hand_array, set_pose
from .topics import CAMERA_INFO

HandModel = Mapping[Side, HandAsset]
HANDS_TOPIC, RECORDED_HANDS_TOPIC = "/hands", "/hands/recorded"
HANDS, POSE = "wildhands_ros/msg/HandArray", "geometry_msgs/msg/PoseStamped"
_CDR_HEADER = 4
"""Bytes in front of a serialised message."""
VIDEO_FRAME_ID = "camera"
VIDEO_START = 10**9
"""Stamp of a video's first frame in nanoseconds. Not zero, because a zero stamp means that there is none."""


@dataclass(frozen=True)
class AnnotatedHands:
    """The hands of a recording, as they are written."""

    frames: Iterator[AnnotatedFrame]
    """In order; can be iterated over once."""
    model: HandModel
    """Hand model of the estimates."""
    fixed_frame: str | None
    """Name of the frame that the camera poses are in; None if they are not wanted."""
    problems: list[str]
    """What is missing, one sentence each."""


def write_annotated_bag(bag: Bag, image_topic: str, annotated: AnnotatedHands, folder: Path) -> None:
    """Copies a bag and adds the hands.

    Args:
        bag: the recording. Hands that were recorded live are copied to ``/hands/recorded``.
        image_topic: the topic that was annotated.
        annotated: the hands.
        folder: the new bag.
    """
    estimate_of = _estimates_by_index(annotated.frames)
    with _new_writer(folder) as writer:
        topics: dict[tuple[str, str], rosbag.Connection] = {}
        for connection in bag.connections:
            key = _output_topic(connection), connection.msgtype
            if key not in topics:
                topics[key] = writer.topic_like(key[0], connection, bag.types)
        hands = _HandsWriter(writer, annotated)
        index = 0
        for connection, received, data in bag.messages():
            writer.write(topics[_output_topic(connection), connection.msgtype], received, data)
            if connection.topic != image_topic:
                continue
            frame = estimate_of(index)
            if frame is not None:
                header = bag.read(connection, data).header
                stamp = Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
                for topic, message in hands.messages(frame, Header(stamp=stamp, frame_id=header.frame_id)):
                    writer.write(topic, received, message)
            index += 1


def write_annotated_video(annotated: AnnotatedHands, jpegs: Iterator[bytes], folder: Path) -> None:
    """Writes the images of a video, their CameraInfo and the hands to a new bag.

    Args:
        annotated: the hands.
        jpegs: the image of each frame.
        folder: the new bag.
    """
    # A thread compresses and writes one frame while this one prepares the next.
    with _new_writer(folder) as writer, ThreadPoolExecutor(1) as thread:
        images = writer.topic("/image/compressed", IMAGE_TYPES[1])
        infos = writer.topic("/camera_info", CAMERA_INFO)
        hands = _HandsWriter(writer, annotated)
        writing: list[Future[None]] = []
        for frame, jpeg in zip(annotated.frames, jpegs, strict=True):
            stamp = VIDEO_START + round(frame.stamp * 1e9)
            header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=VIDEO_FRAME_ID)
            messages = (
                (infos, _serialised(camera_info(frame.estimate.camera, header), CAMERA_INFO, writer.types)),
                (images, _serialised_image(jpeg, header, writer.types)),
                *hands.messages(frame, header),
            )
            _wait(writing)
            writing = [thread.submit(writer.write, topic, stamp, data) for topic, data in messages]
        _wait(writing)


class _HandsWriter:
    """Serialises the hands of frames, in the camera frame and in the fixed frame."""

    def __init__(self, writer: BagWriter, annotated: AnnotatedHands):
        self._types, self._model, self._fixed_frame = writer.types, annotated.model, annotated.fixed_frame
        self._placement = HandPlacement(annotated.model)
        self._hands = writer.topic(HANDS_TOPIC, HANDS)
        if self._fixed_frame is not None:
            self._poses = writer.topic(CAMERA_POSE_TOPIC, POSE)
            self._world_hands = writer.topic(WORLD_HANDS_TOPIC, HANDS)

    def messages(self, frame: AnnotatedFrame, header: Header) -> list[tuple[rosbag.Connection, bytes]]:
        """Returns the topics and serialised messages of a frame; ``header`` is that of the image."""
        name = self._model[Side.RIGHT].name
        message = hand_array(frame.estimate, header, frame.origin, name)
        found = [(self._hands, _serialised(message, HANDS, self._types))]
        if self._fixed_frame is None or frame.camera_pose is None:
            return found
        pose = frame.camera_pose.pose
        in_frame = Header(stamp=header.stamp, frame_id=self._fixed_frame)
        posed = PoseStamped(header=in_frame)
        set_pose(posed.pose, pose.position, quaternions_from_matrices(pose.rotation))
        hands = [self._placement.hand(hand, pose) for hand in frame.estimate.hands]
        moved = hand_array(frame.estimate, in_frame, frame.origin, name, moved=hands)
        return [
            *found,
            (self._poses, _serialised(posed, POSE, self._types)),
            (self._world_hands, _serialised(moved, HANDS, self._types)),
        ]


def _output_topic(connection: rosbag.Connection) -> str:
    return RECORDED_HANDS_TOPIC if connection.topic == HANDS_TOPIC else connection.topic


def _wait(futures: list[Future[None]]) -> None:
    """Waits for the calls and raises what they raise."""
    for future in futures:
        future.result()


def _estimates_by_index(frames: Iterator[AnnotatedFrame]) -> Callable[[int], AnnotatedFrame | None]:
    """Returns a function that gives the estimate of a frame, or None; it must be called with ascending indices."""
    upcoming = next(frames, None)

    def estimate_of(index: int) -> AnnotatedFrame | None:
        nonlocal upcoming
        if upcoming is None or upcoming.index != index:
            return None
        found, upcoming = upcoming, next(frames, None)
        return found

    return estimate_of


def _serialised(message: Message, message_type: str, types: Typestore) -> bytes:
    """Serialises a message so that equal messages give equal bytes.

    The middleware leaves uninitialised memory in the padding and behind the end of a message; rosbags writes the
    message again with zeros and its true length.
    """
    definition = types.get_msgdef(message_type)
    payload = memoryview(serialize_message(message))[_CDR_HEADER:]
    found, _ = definition.deserialize_cdr_le(payload, 0, definition.cls, types)
    return bytes(types.serialize_cdr(found, message_type))


def _serialised_image(jpeg: bytes, header: Header, types: Typestore) -> bytes:
    """Serialises a CompressedImage with rosbags, because the middleware would copy the image three times more."""
    image_type, header_type, time_type = (
        types.types[name] for name in (IMAGE_TYPES[1], "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    message = image_type(
        header=header_type(
            stamp=time_type(sec=header.stamp.sec, nanosec=header.stamp.nanosec), frame_id=header.frame_id
        ),
        format="rgb8; jpeg compressed bgr8",
        data=np.frombuffer(jpeg, np.uint8),
    )
    return bytes(types.serialize_cdr(message, IMAGE_TYPES[1]))


def _new_writer(folder: Path) -> BagWriter:
    """Removes what an interrupted run may have left of the bag, and opens a writer."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return BagWriter(folder)
