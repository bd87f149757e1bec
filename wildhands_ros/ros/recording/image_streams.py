"""The images of recordings, each with its camera: of a topic of a bag, or of a video file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import rosbags.interfaces as rosbag

from ...geometry.calibration import Calibration, CalibrationError, IntrinsicsSource
from ...geometry.camera import Camera
from ...io.camera_files import Intrinsics
from ...io.images import InputError
from ...io.sources import VideoSource
from ...recording.bags import IMAGE_TYPES, Bag, is_bag
from ...recording.camera_poses import PoseOptions
from ...recording.image_stream import StreamImage, UnreadableImage
from ...recording.message import Message
from ...recording.refinement import RefinementOptions
from ..camera_info import calibration
from ..images import decode
from ..rejections import InputRejected

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_IMAGES_TO_CHECK = 10


@dataclass(frozen=True)
class AnnotationOptions:
    """The user's options for annotating a recording."""

    image_topic: str = ""
    """Empty: the only topic with images."""
    intrinsics: Intrinsics | None = None
    """Replaces the CameraInfo of the bag; None to use that."""
    rectified: bool = False
    """Whether the images of the bag are rectified."""
    poses: PoseOptions = field(default_factory=PoseOptions)
    """Where the pose of the camera comes from."""
    refinement: RefinementOptions = field(default_factory=RefinementOptions)
    """What to do with the estimates of the whole recording."""


class BagStream:
    """The images of one topic of an open bag."""

    keeps_jpegs = False
    problems: tuple[str, ...] = ()
    """CameraInfo that cannot be read. The bag has its own problems."""

    def __init__(self, bag: Bag, options: AnnotationOptions):
        """Finds the topics.

        Raises:
            InputError: there are no such images, or their camera is unknown.
        """
        self._bag = bag
        self.topic = _image_topic(bag, options.image_topic)
        self.count = bag.count(self.topic.topic) or None
        self._info_topic = None if options.intrinsics else _info_topic(bag, self.topic.topic)
        self._first_info = None if self._info_topic is None else _first_message(bag, self._info_topic)
        self._cameras = _CamerasByInfo(options.intrinsics, options.rectified)

    @property
    def camera_warnings(self) -> list[str]:
        """What is doubtful about the camera of the last image."""
        return self._cameras.warnings

    def frame_id(self) -> str:
        """Returns the frame of the first image."""
        return str(_first_message(self._bag, self.topic).header.frame_id)

    def check(self) -> None:
        """Reads the first images.

        Raises:
            InputError: none of them can be used, so that the same is to be expected of the rest.
        """
        problem, count = "", 0
        for image in self.images(lambda _: True):
            if isinstance(image, StreamImage):
                return
            problem, count = problem or image.problem, count + 1
            if count == _IMAGES_TO_CHECK:
                break
        found = f"none of the first {count} images can be used; {problem}" if count else "the images cannot be read"
        raise InputError(f"{self._bag.path}: {found}")

    def images(self, wanted: Callable[[int], bool]) -> Iterator[StreamImage | UnreadableImage]:
        """Yields the images whose index is ``wanted``, each with the preceding CameraInfo or else the first one."""
        index, info = 0, self._first_info
        topics = [self.topic] if self._info_topic is None else [self.topic, self._info_topic]
        for topic, _, data in self._bag.messages(topics):
            if topic.topic != self.topic.topic:
                info = self._info(topic, data) or info
                continue
            if wanted(index):
                try:
                    yield self._image(index, self._bag.read(topic, data), info)
                except (InputRejected, CalibrationError, InputError) as error:
                    yield UnreadableImage(index, f"{topic.topic}, image {index}: {error}")
            index += 1

    def _info(self, topic: rosbag.Connection, data: bytes) -> Message | None:
        try:
            return self._bag.read(topic, data)
        except InputError as error:
            self.problems = (*self.problems, str(error)) if str(error) not in self.problems else self.problems
            return None

    def _image(self, index: int, message: Message, info: Message | None) -> StreamImage:
        image = decode(message, self.topic.msgtype)
        height, width = image.shape[:2]
        camera, origin = self._cameras(width, height, info)
        stamp = message.header.stamp
        return StreamImage(index, stamp.sec + stamp.nanosec / 1e9, image, camera, origin)


class _CamerasByInfo:
    """The camera of an image, computed again only when the image size or the CameraInfo changes."""

    def __init__(self, intrinsics: Intrinsics | None, rectified: bool):
        self._intrinsics, self._rectified = intrinsics, rectified
        self._size = 0, 0
        self._calibration: Calibration | None = None
        self._camera: tuple[Camera, IntrinsicsSource] | None = None
        self.warnings: list[str] = []

    def __call__(self, width: int, height: int, info: Message | None) -> tuple[Camera, IntrinsicsSource]:
        of_info = None if self._intrinsics is not None else calibration(info)
        if self._camera is None or self._size != (width, height) or self._calibration != of_info:
            if of_info is not None:
                camera = of_info.camera(width, height, self._rectified)
                self.warnings = of_info.warnings(width, height, self._rectified)
            else:
                intrinsics = self._intrinsics or Intrinsics()
                camera = intrinsics.camera(width, height)
                self.warnings = intrinsics.warnings(width, height)
            self._camera, self._size, self._calibration = camera, (width, height), of_info
        return self._camera


class VideoStream:
    """The images of a video file."""

    keeps_jpegs = True

    def __init__(self, path: Path, options: AnnotationOptions):
        """Opens the video.

        Raises:
            InputError: the file is not a video that can be decoded.
        """
        self._source = VideoSource(path)
        self._intrinsics = options.intrinsics or Intrinsics()
        self.count = self._source.count
        self._cameras: dict[tuple[int, int], tuple[Camera, IntrinsicsSource]] = {}
        self.camera_warnings: list[str] = []
        """What is doubtful about the cameras of the images so far."""

    @property
    def problems(self) -> list[str]:
        """What ``images`` could not read; complete after the last image."""
        return self._source.problems

    def check(self) -> None:
        """Reads the first image.

        Raises:
            CalibrationError: the calibration does not fit it.
        """
        next(self.images(lambda _: True), None)

    def images(self, wanted: Callable[[int], bool]) -> Iterator[StreamImage]:
        """Yields the images whose index is ``wanted``."""
        for index, frame in self._source.numbered(wanted):
            height, width = frame.image.shape[:2]
            if (width, height) not in self._cameras:
                self._cameras[width, height] = self._intrinsics.camera(width, height, frame.rotation)
                self.camera_warnings += self._intrinsics.warnings(width, height, frame.rotation)
            camera, origin = self._cameras[width, height]
            stamp = frame.stamp or 0.0  # only still images have none
            yield StreamImage(index, stamp, frame.image, camera, origin)


@contextmanager
def open_stream(source: Path, options: AnnotationOptions) -> Iterator[BagStream | VideoStream]:
    """Opens the images of a bag or video.

    Raises:
        InputError: it cannot be read, or has no usable images.
    """
    if not is_bag(source):
        yield VideoStream(source, options)
        return
    with Bag(source) as bag:
        yield BagStream(bag, options)


def _image_topic(bag: Bag, name: str) -> rosbag.Connection:
    """Finds the image topic with this name, or the only one if ``name`` is empty."""
    found = _topics_with_messages(bag, *IMAGE_TYPES)
    if name:
        if name not in found:
            raise InputError(
                f"{bag.path}: no images on {name}; it has images on: {', '.join(sorted(found)) or 'no topic'}"
            )
        return found[name]
    # The overlay of the node is not a camera.
    cameras = [connection for name, connection in found.items() if "debug_image" not in name]
    if len(cameras) != 1:
        names = ", ".join(sorted(connection.topic for connection in cameras))
        raise InputError(
            f"{bag.path}: {f'images on {names}: choose one with --image TOPIC' if names else 'no topic with images'}"
        )
    return cameras[0]


def _info_topic(bag: Bag, image_topic: str) -> rosbag.Connection:
    """Finds the CameraInfo topic in the namespace of the images, or the only one."""
    found = _topics_with_messages(bag, CAMERA_INFO)
    parent = image_topic.removesuffix("/compressed").rpartition("/")[0]
    if f"{parent}/camera_info" in found:
        return found[f"{parent}/camera_info"]
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(sorted(found)) or "none"
    raise InputError(
        f"{bag.path}: no CameraInfo that belongs to {image_topic} (in the bag: {names}): give --camera-info FILE, or "
        "--fov if there is no calibration"
    )


def _topics_with_messages(bag: Bag, *message_types: str) -> dict[str, rosbag.Connection]:
    return {
        connection.topic: connection
        for connection in bag.of_type(*message_types)
        if connection.msgcount or connection.msgcount is None
    }


def _first_message(bag: Bag, topic: rosbag.Connection) -> Message:
    for connection, _, data in bag.messages([topic]):
        return bag.read(connection, data)
    raise InputError(f"{bag.path}: there is no message on {topic.topic}: give --camera-info FILE, or --fov")
