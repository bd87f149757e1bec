"""The depth images of a recording that belong to the images of one camera."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from os.path import commonprefix

import rosbags.interfaces as rosbag

from ...config import DEPTH_SENSORS
from ...estimator import DepthLookup
from ...geometry.depth_image import DepthImage, DepthNoise
from ...geometry.pose import Pose
from ...geometry.trajectory import TrajectoryChain
from ...io.errors import InputError
from ...io.image_headers import MAX_PIXELS
from ...recording.bag_poses import tf_poses
from ...recording.bags import Bag
from ...recording.message import Message
from ...types import DepthStatus
from ..camera_motion import TransformUnavailable
from ..depth_registration import LATE, ColourImage, check_gap, registered
from ..rejections import InputRejected
from ..stamps import nanoseconds
from .topics import CAMERA_INFO, depth_topics, first_message, namespace, topics_with_messages

AUTO, OFF = "auto", "off"
"""Values of ``DepthOptions.topic`` that are no topic."""
_WAIT = 500_000_000
"""Nanoseconds after the receipt of an image within which its depth image is received."""
_KEPT = 1_000_000_000
"""Nanoseconds after their receipt for which depth images are kept."""


@dataclass(frozen=True)
class DepthOptions:
    """The user's options for depth images; names and defaults are those of the node's parameters."""

    topic: str = AUTO
    """A topic; ``AUTO`` for the one beside the images, if there is one; ``OFF`` for none."""
    tolerance: float = 0.02
    """Largest difference between the stamps of an image and of its depth image in seconds."""
    sensor: str = DEPTH_SENSORS[0]
    noise_scale: float = 1.0

    @property
    def noise(self) -> DepthNoise:
        """The noise model of the depth camera."""
        return DepthNoise.of_sensor(self.sensor, self.noise_scale)


@dataclass(frozen=True)
class _Received:
    message: Message
    at: int
    """Nanoseconds."""
    info: Message | None
    """The preceding CameraInfo, or else the first one; None if there is none."""


class DepthStream:
    """The depth images for the images of one topic.

    Args:
        bag: The open recording.
        topic: Topic of the depth images.
        options: The user's options.
    """

    def __init__(self, bag: Bag, topic: rosbag.Connection, options: DepthOptions):
        self._bag, self.topic, self._options = bag, topic, options
        infos = topics_with_messages(bag, CAMERA_INFO)
        self._info_topic = infos.get(f"{namespace(topic.topic)}/camera_info")
        self._info = None if self._info_topic is None else first_message(bag, self._info_topic)
        self._received: deque[_Received] = deque()
        self._last_stamp = -1
        self._poses: dict[tuple[str, str], TrajectoryChain | InputError] = {}
        self.problems: dict[str, str] = {}
        """Why depth images were not used: one sentence for each reason."""

    @property
    def topics(self) -> list[rosbag.Connection]:
        """The topics that ``add`` expects."""
        return [self.topic] if self._info_topic is None else [self.topic, self._info_topic]

    def add(self, topic: str, received: int, data: bytes) -> None:
        """Adds a message of one of ``topics``; one that cannot be read is left out."""
        connection = next(each for each in self.topics if each.topic == topic)
        try:
            message = self._bag.read(connection, data)
        except InputError as error:
            self.problems.setdefault("unreadable", str(error))
            return
        if connection is not self.topic:
            self._info = message
            return
        stamp = nanoseconds(message.header.stamp)
        if stamp < self._last_stamp:
            self._received.clear()  # The clock was set back.
        self._last_stamp = stamp
        self._received.append(_Received(message, received, self._info))
        while received - self._received[0].at > _KEPT:
            self._received.popleft()

    def is_complete(self, header: Message, received: int, now: int) -> bool:
        """Returns whether the depth image of an image has been received, or will not be any more.

        Args:
            header: Header of the image.
            received: When the image was received, in nanoseconds.
            now: When the last message was received.
        """
        return self._last_stamp >= nanoseconds(header.stamp) or now - received > _WAIT

    def for_image(self, colour: ColourImage) -> DepthLookup:
        """Returns a function that returns the depth image of an image, or why there is none."""
        if not self._received:
            return lambda: DepthStatus.LATE
        stamp = nanoseconds(colour.header.stamp)
        nearest = min(self._received, key=lambda each: abs(nanoseconds(each.message.header.stamp) - stamp))
        return partial(self._registered, nearest, colour)

    def _registered(self, found: _Received, colour: ColourImage) -> DepthImage | DepthStatus:
        message = found.message
        try:
            check_gap(
                (nanoseconds(message.header.stamp) - nanoseconds(colour.header.stamp)) / 1e9, self._options.tolerance
            )
            return registered(
                message,
                found.info,
                colour,
                self._options.noise,
                MAX_PIXELS,
                partial(self._pose, colour.header, message.header),
                f"there is no CameraInfo beside {self.topic.topic}, and its images are not aligned with the colour "
                "images: record it too",
            )
        except InputRejected as rejection:
            self.problems.setdefault(rejection.name, f"{self.topic.topic}: {rejection}")
            return DepthStatus.LATE if rejection.name == LATE else DepthStatus.UNUSABLE

    def _pose(self, header: Message, depth_header: Message) -> Pose:
        """Returns the pose of the depth camera in the frame of the colour image."""
        frames = header.frame_id.lstrip("/"), depth_header.frame_id.lstrip("/")
        if frames not in self._poses:
            try:
                self._poses[frames] = tf_poses(self._bag, *frames)
            except InputError as error:
                self._poses[frames] = error
        chain = self._poses[frames]
        found = None if isinstance(chain, InputError) else chain.at(nanoseconds(depth_header.stamp) / 1e9)
        if found is None:
            raise TransformUnavailable("TF in the recording does not connect the two at that time")
        return found.pose


def find_depth(bag: Bag, image_topic: str, options: DepthOptions) -> rosbag.Connection | None:
    """Returns the topic of the depth images that belong to a topic of images; None if there is none, or none is wanted.

    Raises:
        InputError: The topic that the user names does not exist, or several may be meant.
    """
    if options.topic == OFF:
        return None
    found = depth_topics(bag)
    if options.topic != AUTO:
        if options.topic not in found:
            raise InputError(
                f"{bag.path}: no depth images on {options.topic}; it has depth images on: "
                f"{', '.join(sorted(found)) or 'no topic'}"
            )
        return found[options.topic]
    # Drivers publish both streams of a camera in one namespace, which other cameras do not share.
    shared = {name: commonprefix([name.split("/"), image_topic.split("/")]) for name in found}
    longest = max(map(len, shared.values()), default=0)
    nearest = sorted(name for name, parts in shared.items() if len(parts) == longest)
    if len(nearest) > 1:
        raise InputError(
            f"{bag.path}: several topics have depth images for {image_topic} ({', '.join(nearest)}): choose one with "
            f"--depth TOPIC, or none with --depth {OFF}"
        )
    return found[nearest[0]] if nearest else None
