"""Writes annotated bags: the original topics or the images of a video, and the hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rosbags.interfaces as rosbag
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.typesys.store import Typestore
from std_msgs.msg import Header

from ...hand_model.asset import HandAsset
from ...msg import HandArray
from ...recording.annotation import Annotation
from ...recording.bag_writer import BagWriter
from ...recording.bags import IMAGE_TYPES, Bag
from ...recording.message import Message
from ...recording.segments import AnnotatedFrame
from ...types import Side
from ..camera_info import camera_info
from ..messages import hand_array
from .image_streams import CAMERA_INFO

HandModel = Mapping[Side, HandAsset]
HANDS_TOPIC, RECORDED_HANDS_TOPIC = "/hands", "/hands/recorded"
HANDS = "wildhands_ros/msg/HandArray"
VIDEO_FRAME_ID = "camera"
VIDEO_START = 10**9
"""Stamp of a video's first frame in nanoseconds. Not zero, because a zero stamp means that there is none."""


def write_annotated_bag(
    bag: Bag, image_topic: str, annotation: Annotation, model: HandModel, smooth: bool, folder: Path
) -> None:
    """Copies a bag and adds the hands.

    Args:
        bag: the recording. Hands that were recorded live are copied to ``/hands/recorded``.
        image_topic: the topic that was annotated.
        annotation: the estimates.
        model: the hand model of the estimates.
        smooth: whether to smooth the hands over time.
        folder: the new bag.
    """
    estimate_of = _estimates_by_index(annotation, model, smooth)
    with _new_writer(folder) as writer:
        topics: dict[tuple[str, str], rosbag.Connection] = {}
        for connection in bag.connections:
            key = _output_topic(connection), connection.msgtype
            if key not in topics:
                topics[key] = writer.topic_like(key[0], connection, bag.types)
        hands = writer.topic(HANDS_TOPIC, HANDS)
        index = 0
        for connection, received, data in bag.messages():
            writer.write(topics[_output_topic(connection), connection.msgtype], received, data)
            if connection.topic != image_topic:
                continue
            frame = estimate_of(index)
            if frame is not None:
                header = bag.read(connection, data).header
                stamp = Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
                message = _hands(frame, model, Header(stamp=stamp, frame_id=header.frame_id))
                writer.write(hands, received, _serialised(message, HANDS, writer.types))
            index += 1


def write_annotated_video(annotation: Annotation, model: HandModel, smooth: bool, folder: Path) -> None:
    """Writes the images of a video, their CameraInfo and the hands to a new bag.

    Args:
        annotation: the estimates and the images.
        model: the hand model of the estimates.
        smooth: whether to smooth the hands over time.
        folder: the new bag.
    """
    # A thread compresses and writes one frame while this one prepares the next.
    with _new_writer(folder) as writer, ThreadPoolExecutor(1) as thread:
        images = writer.topic("/image/compressed", IMAGE_TYPES[1])
        infos = writer.topic("/camera_info", CAMERA_INFO)
        hands = writer.topic(HANDS_TOPIC, HANDS)
        writing: list[Future[None]] = []
        for frame, jpeg in zip(annotation.frames(model, smooth), annotation.jpegs(), strict=True):
            stamp = VIDEO_START + round(frame.stamp * 1e9)
            header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=VIDEO_FRAME_ID)
            messages = (
                (infos, _serialised(camera_info(frame.estimate.camera, header), CAMERA_INFO, writer.types)),
                (images, _serialised_image(jpeg, header, writer.types)),
                (hands, _serialised(_hands(frame, model, header), HANDS, writer.types)),
            )
            _wait(writing)
            writing = [thread.submit(writer.write, topic, stamp, data) for topic, data in messages]
        _wait(writing)


def _output_topic(connection: rosbag.Connection) -> str:
    return RECORDED_HANDS_TOPIC if connection.topic == HANDS_TOPIC else connection.topic


def _wait(futures: list[Future[None]]) -> None:
    """Waits for the calls and raises what they raise."""
    for future in futures:
        future.result()


def _estimates_by_index(
    annotation: Annotation, model: HandModel, smooth: bool
) -> Callable[[int], AnnotatedFrame | None]:
    """Returns a function that gives the estimate of a frame, or None; it must be called with ascending indices."""
    frames = annotation.frames(model, smooth)
    upcoming = next(frames, None)

    def estimate_of(index: int) -> AnnotatedFrame | None:
        nonlocal upcoming
        if upcoming is None or upcoming.index != index:
            return None
        found, upcoming = upcoming, next(frames, None)
        return found

    return estimate_of


def _hands(frame: AnnotatedFrame, model: HandModel, header: Header) -> HandArray:
    return hand_array(frame.estimate, header, frame.origin, model[Side.RIGHT].name)


def _serialised(message: Message, message_type: str, types: Typestore) -> bytes:
    """Serialises a message so that equal messages give equal bytes.

    The middleware leaves uninitialised memory in the padding; rosbags writes the message again with zeros.
    """
    return bytes(types.serialize_cdr(types.deserialize_cdr(serialize_message(message), message_type), message_type))


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
