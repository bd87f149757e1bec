"""The pictures of recordings, each with its camera: of a topic of a bag, and of a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rosbags.interfaces as rosbag

from ...geometry.calibration import CalibrationError
from ...io.camera_files import Intrinsics
from ...io.images import InputError
from ...io.sources import VideoSource
from ...recording.bags import IMAGE_TYPES, Bag, is_bag
from ...recording.recording_part import StreamFrame, Unreadable
from ..camera_info import calibration
from ..images import decode
from ..rejections import InputRejected

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


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
    """The pictures of one topic of an open bag, whose own problems are the bag's."""

    wants_jpegs = False
    problems: tuple[str, ...] = ()

    def __init__(self, bag: Bag, choices: Choices):
        """:raises InputError: no such pictures, or nothing is known of their camera."""
        self._bag, self._choices = bag, choices
        self.topic = _image_topic(bag, choices.image_topic)
        self.count = bag.count(self.topic.topic) or None
        self._info_topic = None if choices.intrinsics else _info_topic(bag, self.topic.topic)
        self._info = self._first_info() if self._info_topic else None
        self._cache: tuple | None = None

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[StreamFrame | Unreadable]:
        """The pictures with these numbers, each with the CameraInfo before it (the first one where there is none yet)."""
        index, info = 0, self._info
        topics = [self.topic, *([self._info_topic] if self._info_topic else [])]
        for topic, _, data in self._bag.messages(topics):
            if topic.topic != self.topic.topic:
                info = self._bag.read(topic, data)
                continue
            if wanted(index):
                try:
                    yield self._frame(index, self._bag.read(topic, data), info)
                except (InputRejected, CalibrationError) as error:
                    yield Unreadable(index, f"{topic.topic}, picture {index}: {error}")
            index += 1

    def _frame(self, index: int, message, info) -> StreamFrame:
        image = decode(message, self.topic.msgtype)
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
        raise InputError(
            f"{self._bag.path}: {self._info_topic.topic} holds no message: give --camera-info FILE, or --fov"
        )


class VideoStream:
    """The pictures of a video file."""

    wants_jpegs = True

    def __init__(self, path: Path, choices: Choices):
        """:raises InputError: no video that can be decoded."""
        self._source = VideoSource(path)
        self._intrinsics = choices.intrinsics or Intrinsics()
        self.count = self._source.count
        self._cameras: dict[tuple[int, int], tuple] = {}

    @property
    def problems(self) -> list[str]:
        """What ``frames`` could not read, once it has come to the end."""
        return self._source.problems

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[StreamFrame]:
        for index, frame in self._source.numbered(wanted):
            height, width = frame.image.shape[:2]
            if (width, height) not in self._cameras:
                self._cameras[width, height] = self._intrinsics.camera(width, height)
            yield StreamFrame(index, frame.stamp, frame.image, *self._cameras[width, height])


@contextmanager
def open_stream(source: Path, choices: Choices) -> Iterator[BagStream | VideoStream]:
    """The pictures of a recording of either kind.

    :raises InputError: see those.
    """
    if not is_bag(source):
        yield VideoStream(source, choices)
        return
    with Bag(source) as bag:
        yield BagStream(bag, choices)


def _image_topic(bag: Bag, wanted: str) -> rosbag.Connection:
    found = {
        connection.topic: connection
        for connection in bag.of_type(*IMAGE_TYPES)
        if connection.msgcount or connection.msgcount is None
    }
    if wanted:
        if wanted not in found:
            raise InputError(
                f"{bag.path}: no images on {wanted}; it has images on: {', '.join(sorted(found)) or 'no topic'}"
            )
        return found[wanted]
    # An overlay is no camera.
    cameras = [connection for name, connection in found.items() if "debug_image" not in name]
    if len(cameras) != 1:
        names = ", ".join(sorted(connection.topic for connection in cameras))
        raise InputError(
            f"{bag.path}: {f'images on {names}: choose one with --image TOPIC' if names else 'no topic with images'}"
        )
    return cameras[0]


def _info_topic(bag: Bag, image_topic: str) -> rosbag.Connection:
    """The CameraInfo beside the images, or the only one."""
    found = {
        connection.topic: connection
        for connection in bag.of_type(CAMERA_INFO)
        if connection.msgcount or connection.msgcount is None
    }
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
