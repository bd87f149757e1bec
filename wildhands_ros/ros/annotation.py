"""`wildhands annotate`: a bag or a video in, a bag with ``hands`` beside the original topics out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import rosbags.interfaces as rosbag
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.typesys.store import Typestore
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from tqdm import tqdm

from ..capture.annotate import Annotated, Annotation, StreamFrame
from ..capture.bag_writer import BagWriter
from ..capture.bags import Bag, is_bag
from ..estimator import Estimator
from ..geometry.calibration import CalibrationError, IntrinsicsSource
from ..io.camera_files import Intrinsics, guess_warning
from ..io.images import InputError, encode_image
from ..io.sources import VideoSource
from ..msg import HandArray
from ..structures import Side
from .camera_info import calibration, camera_info
from .images import decode_compressed, decode_image
from .messages import hand_array
from .refusals import InputRefused

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO, HANDS = "sensor_msgs/msg/CameraInfo", "wildhands_ros/msg/HandArray"
VIDEO_FRAME, VIDEO_START = "camera", 10**9
"""A video's frames are stamped from one second on: a stamp of zero would mean that there is none."""


@dataclass(frozen=True)
class Choices:
    """What the user may say of the input."""

    image_topic: str = ""
    """Empty: the only topic with images."""
    intrinsics: Intrinsics | None = None
    """In place of the bag's CameraInfo; None for that."""
    rectified: bool = False
    smooth: bool = False


class BagStream:
    """The pictures of one topic of an open bag."""

    def __init__(self, bag: Bag, choices: Choices):
        """:raises InputError: no such pictures, or nothing is known of their camera."""
        self._bag, self._choices = bag, choices
        self.topic = _image_topic(bag, choices.image_topic)
        self.count = self.topic.msgcount or None
        self.problems: list[str] = []
        self._info_topic = None if choices.intrinsics else _info_topic(bag, self.topic.topic)
        self._info = self._first_info() if self._info_topic else None
        self._cache: tuple | None = None

    def frames(self, start: int) -> Iterator[StreamFrame]:
        """Pictures from number ``start`` on, each with the CameraInfo before it (the first one where there is none yet)."""
        self.problems.clear()
        index, info = 0, self._info
        topics = [self.topic, *([self._info_topic] if self._info_topic else [])]
        for topic, _, data in self._bag.messages(topics):
            if topic.topic != self.topic.topic:
                info = self._bag.read(topic, data)
                continue
            if index >= start:
                try:
                    yield self._frame(index, self._bag.read(topic, data), info)
                except (InputRefused, CalibrationError) as error:
                    self.problems.append(f"{topic.topic}, picture {index}: {error}")
            index += 1

    def _frame(self, index: int, message, info) -> StreamFrame:
        image = decode_image(message) if self.topic.msgtype == IMAGE_TYPES[0] else decode_compressed(message)
        height, width = image.shape[:2]
        camera, origin = self._camera(width, height, info)
        stamp = message.header.stamp
        return StreamFrame(index, stamp.sec + stamp.nanosec / 1e9, image, camera, origin)

    def _camera(self, width: int, height: int, info):
        key = width, height, id(info)
        if self._cache is None or self._cache[0] != key:
            if info is None:
                found = self._choices.intrinsics.camera(width, height)
            else:
                found = calibration(info).camera(width, height, self._choices.rectified)
            self._cache = key, found, info  # keeps info alive, whose id is the key
        return self._cache[1]

    def _first_info(self):
        for topic, _, data in self._bag.messages([self._info_topic]):
            return self._bag.read(topic, data)
        raise InputError(f"{self._bag.path}: {self._info_topic.topic} holds no message: give --camera-info FILE, or --fov")


class VideoStream:
    """The pictures of a video file."""

    def __init__(self, path: Path, choices: Choices):
        """:raises InputError: no video that can be decoded."""
        self._source = VideoSource(path)
        self._intrinsics = choices.intrinsics or Intrinsics()
        self.count = self._source.count
        self._cameras: dict[tuple[int, int], tuple] = {}

    @property
    def problems(self) -> list[str]:
        return self._source.problems

    def frames(self, start: int) -> Iterator[StreamFrame]:
        for index, frame in enumerate(self._source):
            if index >= start:
                yield StreamFrame(index, frame.stamp, frame.image, *self.camera(frame.image.shape[1], frame.image.shape[0]))

    def camera(self, width: int, height: int) -> tuple:
        if (width, height) not in self._cameras:
            self._cameras[width, height] = camera, origin = self._intrinsics.camera(width, height)
            if origin is IntrinsicsSource.GUESS:
                print(f"wildhands: warning: {guess_warning(camera)}", file=sys.stderr)
        return self._cameras[width, height]


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


def _image_topic(bag: Bag, wanted: str) -> rosbag.Connection:
    found = {connection.topic: connection for connection in bag.of_type(*IMAGE_TYPES) if connection.msgcount or connection.msgcount is None}
    if wanted:
        if wanted not in found:
            raise InputError(f"{bag.path}: no images on {wanted}; it has images on: {', '.join(sorted(found)) or 'no topic'}")
        return found[wanted]
    # An overlay is no camera.
    cameras = [connection for name, connection in found.items() if "debug_image" not in name]
    if len(cameras) != 1:
        names = ", ".join(sorted(connection.topic for connection in cameras))
        raise InputError(f"{bag.path}: {f'images on {names}: choose one with --image TOPIC' if names else 'no topic with images'}")
    return cameras[0]


def _info_topic(bag: Bag, image_topic: str) -> rosbag.Connection:
    """The CameraInfo beside the images, or the only one."""
    found = {connection.topic: connection for connection in bag.of_type(CAMERA_INFO) if connection.msgcount or connection.msgcount is None}
    parent = image_topic.removesuffix("/compressed").rpartition("/")[0]
    if f"{parent}/camera_info" in found:
        return found[f"{parent}/camera_info"]
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(sorted(found)) or "none"
    raise InputError(
        f"{bag.path}: no CameraInfo that belongs to {image_topic} (in the bag: {names}): give --camera-info FILE, or --fov where there is "
        "no calibration"
    )
