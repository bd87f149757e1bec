"""`wildhands annotate`: a bag or a video in, a bag with ``hands`` beside the original topics out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import rosbags.interfaces as rosbag
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.typesys.store import Typestore
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from tqdm import tqdm

from ...capture.annotate import Annotated, Annotation
from ...capture.bag_writer import BagWriter
from ...capture.bags import IMAGE_TYPES, Bag, is_bag
from ...estimator import Estimator
from ...io.images import encode_image
from ...msg import HandArray
from ...structures import Side
from ..camera_info import camera_info
from ..messages import hand_array
from .picture_streams import CAMERA_INFO, BagStream, Choices, VideoStream

HANDS = "wildhands_ros/msg/HandArray"
VIDEO_FRAME, VIDEO_START = "camera", 10**9
"""A video's frames are stamped from one second on: a stamp of zero would mean that there is none."""


def annotate(source: Path, output: Path, choices: Choices, settings: dict, make_estimator: Callable[[], Estimator]) -> list[str]:
    """Estimates the hands of a recording and writes the new bag ``output``; goes on where an earlier call was interrupted.

    Args:
        source: a bag in any format that ``Bag`` reads, or a video.
        output: the folder to make.
        choices: about the input.
        settings: everything else that the estimates depend on, as JSON: with other settings, earlier work is not gone on with.
        make_estimator: called where there is something to estimate or to pose.

    Returns:
        What could not be read, one sentence each.

    :raises InputError: nothing can be annotated, with the reason.
    :raises OSError: the output exists or cannot be written.
    """
    if output.exists():
        raise FileExistsError(f"{output} exists already; remove it, or give another --output")
    partial = output.with_name(f"{output.name}.partial")
    inputs = {"settings": settings, "files": _fingerprint(source), "topic": choices.image_topic, "rectified": choices.rectified}
    if not is_bag(source):
        stream = VideoStream(source, choices)
        annotation, estimator = _run(source, stream, partial, inputs, make_estimator)
        _write_video(stream, annotation, estimator, choices, partial / output.name)
        problems = list(stream.problems)
    else:
        with Bag(source) as bag:
            stream = BagStream(bag, choices)
            annotation, estimator = _run(source, stream, partial, inputs, make_estimator)
            _write_bag(bag, stream, annotation, estimator, choices, partial / output.name)
            problems = [*bag.problems, *stream.problems]
    (partial / output.name).rename(output)
    annotation.remove()
    partial.rmdir()
    return problems


def _run(source: Path, stream, partial: Path, inputs: dict, make_estimator: Callable[[], Estimator]) -> tuple[Annotation, Estimator]:
    annotation = Annotation(partial / "segments", inputs)
    if annotation.resumed_at:
        print(f"{source}: going on at frame {annotation.resumed_at}", file=sys.stderr)
    estimator = make_estimator()
    with tqdm(total=stream.count, initial=annotation.resumed_at, unit="frame", desc=source.name, disable=None) as bar:
        annotation.run(stream, estimator, bar.update)
    return annotation, estimator


def _write_bag(bag: Bag, stream: BagStream, annotation: Annotation, estimator: Estimator, choices: Choices, folder: Path) -> None:
    annotated = _by_index(annotation, estimator, choices)
    with _fresh(folder) as writer:
        topics: dict[tuple[str, str], rosbag.Connection] = {}
        for connection in bag.connections:
            # Hands that were recorded live stay, under another name.
            name = "/hands/recorded" if connection.topic == "/hands" else connection.topic
            if (name, connection.msgtype) not in topics:
                topics[name, connection.msgtype] = writer.topic_like(name, connection, bag.types)
        hands = writer.topic("/hands", HANDS)
        index = 0
        for connection, received, data in bag.messages():
            name = "/hands/recorded" if connection.topic == "/hands" else connection.topic
            writer.write(topics[name, connection.msgtype], received, data)
            if connection.topic == stream.topic.topic:
                if (frame := annotated(index)) is not None:
                    header = bag.read(connection, data).header
                    stamp = Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
                    message = _hands(frame, estimator, Header(stamp=stamp, frame_id=header.frame_id))
                    writer.write(hands, received, _bytes(message, HANDS, writer.types))
                index += 1


def _write_video(stream: VideoStream, annotation: Annotation, estimator: Estimator, choices: Choices, folder: Path) -> None:
    annotated = _by_index(annotation, estimator, choices)
    with _fresh(folder) as writer:
        images = writer.topic("/image/compressed", IMAGE_TYPES[1])
        infos = writer.topic("/camera_info", CAMERA_INFO)
        hands = writer.topic("/hands", HANDS)
        for picture in stream.frames(0):
            stamp = VIDEO_START + round(picture.stamp * 1e9)
            header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=VIDEO_FRAME)
            message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
            message.data.frombytes(encode_image(picture.image, ".jpg"))
            writer.write(infos, stamp, _bytes(camera_info(picture.camera, header), CAMERA_INFO, writer.types))
            writer.write(images, stamp, _bytes(message, IMAGE_TYPES[1], writer.types))
            if (frame := annotated(picture.index)) is not None:
                writer.write(hands, stamp, _bytes(_hands(frame, estimator, header), HANDS, writer.types))


def _by_index(annotation: Annotation, estimator: Estimator, choices: Choices) -> Callable[[int], Annotated | None]:
    """The estimate of a frame, asked for in rising order; None where there is none."""
    frames = annotation.frames(estimator, choices.smooth)
    waiting = next(frames, None)

    def get(index: int) -> Annotated | None:
        nonlocal waiting
        if waiting is None or waiting.index != index:
            return None
        found, waiting = waiting, next(frames, None)
        return found

    return get


def _hands(frame: Annotated, estimator: Estimator, header: Header) -> HandArray:
    return hand_array(frame.estimate, header, frame.origin, estimator.hand_model[Side.RIGHT].name)


def _bytes(message, kind: str, types: Typestore) -> bytes:
    """A message of ours, serialised. The middleware leaves in the padding what was in memory: written anew, equal hands are equal bytes."""
    return bytes(types.serialize_cdr(types.deserialize_cdr(serialize_message(message), kind), kind))


def _fresh(folder: Path) -> BagWriter:
    """A writer for a folder of which an interrupted run may have left a part."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return BagWriter(folder)


def _fingerprint(source: Path) -> list:
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
