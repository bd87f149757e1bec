"""The images of recordings, each with its camera: of a topic of a bag, or of a video file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import rosbags.interfaces as rosbag

from ...geometry.calibration import Calibration, CalibrationError, IntrinsicsSource
from ...geometry.camera import Camera
from ...io.camera_files import Intrinsics
from ...io.images import InputError
from ...io.sources import VideoSource
from ...recording.bags import Bag, is_bag
from ...recording.camera_poses import PoseOptions
from ...recording.image_stream import StreamImage, UnreadableImage
from ...recording.message import Message
from ...recording.refinement import RefinementOptions
from ..camera_info import calibration
from ..depth_registration import ColourImage
from ..images import decode
from ..rejections import InputRejected
from .depth_streams import DepthOptions, DepthStream, find_depth
from .topics import first_message, image_topic, info_topic

_IMAGES_TO_CHECK = 10


@dataclass(frozen=True)
class RigOptions:
    """The user's options for several cameras."""

    cameras: Mapping[str, str]
    """Topic of the images of each camera by its name, the main camera first; empty for the only one in the namespace of
    that name."""
    extrinsics: Path | None = None
    """File with the poses of the cameras; None to take them from TF."""
    tolerance: float = 0.02
    """Largest difference in seconds between the stamps of images that are fused."""


@dataclass(frozen=True)
class AnnotationOptions:
    """The user's options for annotating a recording."""

    image_topic: str = ""
    """Empty: the only topic with images."""
    namespace: str = ""
    """Namespace of the images, if their topic is not given; empty for any."""
    intrinsics: Intrinsics | None = None
    """Replaces the CameraInfo of the bag; None to use that."""
    rectified: bool = False
    """Whether the images of the bag are rectified."""
    depth: DepthOptions = field(default_factory=DepthOptions)
    """Which depth images are used."""
    poses: PoseOptions = field(default_factory=PoseOptions)
    """Where the pose of the camera comes from."""
    refinement: RefinementOptions = field(default_factory=RefinementOptions)
    """What to do with the estimates of the whole recording."""
    rig: RigOptions | None = None
    """Several cameras, whose hands are fused; None for one."""

    def of_cameras(self) -> dict[str, AnnotationOptions]:
        """Returns the options for each camera by its name, the main one first; the name of a single one is empty."""
        if self.rig is None:
            return {"": self}
        return {
            name: replace(self, image_topic=topic, namespace="" if topic else f"/{name.lstrip('/')}")
            for name, topic in self.rig.cameras.items()
        }


class BagStream:
    """The images of one topic of an open bag."""

    keeps_jpegs = False

    def __init__(self, bag: Bag, options: AnnotationOptions):
        """Finds the topics.

        Raises:
            InputError: there are no such images, or their camera is unknown.
        """
        self._bag, self._rectified = bag, options.rectified
        self.topic = image_topic(bag, options.image_topic, options.namespace)
        self.count = bag.count(self.topic.topic) or None
        self._info_topic = None if options.intrinsics else info_topic(bag, self.topic.topic)
        self._first_info = None if self._info_topic is None else first_message(bag, self._info_topic)
        self._cameras = _CamerasByInfo(options.intrinsics, options.rectified)
        depth = find_depth(bag, self.topic.topic, options.depth)
        self._depth = None if depth is None else DepthStream(bag, depth, options.depth)
        self._unreadable: list[str] = []

    @property
    def problems(self) -> list[str]:
        """CameraInfo that cannot be read, and depth images that are not used. The bag has its own problems."""
        return [*self._unreadable, *(self._depth.problems.values() if self._depth is not None else ())]

    @property
    def camera_warnings(self) -> list[str]:
        """What is doubtful about the camera of the last image."""
        return self._cameras.warnings

    def frame_id(self) -> str:
        """Returns the frame of the first image."""
        return str(first_message(self._bag, self.topic).header.frame_id)

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
        topics = [self.topic, *([] if self._info_topic is None else [self._info_topic])]
        topics += self._depth.topics if self._depth is not None else []
        depth_topics = {topic.topic for topic in self._depth.topics} if self._depth is not None else set()
        waiting: deque[_Waiting] = deque()
        for topic, received, data in self._bag.messages(topics):
            if topic.topic == self.topic.topic:
                if wanted(index):
                    waiting.append(self._waiting(index, topic, received, data, info))
                index += 1
            elif self._info_topic is not None and topic.topic == self._info_topic.topic:
                info = self._info(topic, data) or info
            if self._depth is not None and topic.topic in depth_topics:
                self._depth.add(topic.topic, received, data)
            while waiting and self._is_complete(waiting[0], received):
                yield self._image(waiting.popleft())
        for left in waiting:
            yield self._image(left)

    def _info(self, topic: rosbag.Connection, data: bytes) -> Message | None:
        try:
            return self._bag.read(topic, data)
        except InputError as error:
            if str(error) not in self._unreadable:
                self._unreadable.append(str(error))
            return None

    def _waiting(
        self, index: int, topic: rosbag.Connection, received: int, data: bytes, info: Message | None
    ) -> _Waiting:
        try:
            return _Waiting(index, received, self._bag.read(topic, data), info)
        except InputError as error:
            return _Waiting(index, received, error, info)

    def _is_complete(self, image: _Waiting, now: int) -> bool:
        """Returns whether the depth image of an image need not be waited for."""
        if self._depth is None or isinstance(image.message, InputError):
            return True
        return self._depth.is_complete(image.message.header, image.received, now)

    def _image(self, waiting: _Waiting) -> StreamImage | UnreadableImage:
        try:
            return self._decoded(waiting)
        except (InputRejected, CalibrationError, InputError) as error:
            return UnreadableImage(waiting.index, f"{self.topic.topic}, image {waiting.index}: {error}")

    def _decoded(self, waiting: _Waiting) -> StreamImage:
        message = waiting.message
        if isinstance(message, InputError):
            raise message
        image = decode(message, self.topic.msgtype)
        height, width = image.shape[:2]
        camera, origin = self._cameras(width, height, waiting.info)
        stamp = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
        depth = None
        if self._depth is not None:
            depth = self._depth.for_image(ColourImage(message.header, camera, self._rectified))
        return StreamImage(waiting.index, stamp, image, camera, origin, depth)


@dataclass(frozen=True)
class _Waiting:
    """An image whose depth image may still be on its way."""

    index: int
    received: int
    """Nanoseconds."""
    message: Message | InputError
    """The image, or why it cannot be read."""
    info: Message | None
    """CameraInfo at that time."""


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
