"""Reads demonstrations from annotated bags.

A demonstration is an episode of frames at a constant rate, each with an image, the hands and an action.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import rosbags.interfaces as rosbag

from ..io.errors import InputError, foreign_bytes
from .actions import COMMAND_TYPES, CommandTopic
from .bags import IMAGE_TYPES, Bag
from .episodes import Episode, Mark, episodes
from .features import ACTION_IN_STATE, ACTION_NAMES, state, world
from .message import Message, message_stamp

WORLD_HANDS_TOPIC, CAMERA_POSE_TOPIC = "/hands/world", "/hands/camera_pose"
"""The hands in the fixed frame, and the pose of the camera in it, for the images for which it is known."""
HANDS, EVENT = "wildhands_ros/msg/HandArray", "wildhands_ros/msg/EpisodeEvent"
DEPTH_TOLERANCE = 20_000_000
"""Largest difference in nanoseconds between the stamps of an image and of its depth image."""
_AROUND = 10**9
"""Nanoseconds before an episode from which depth images are read."""
NEXT = "next"
"""The action that consists of the wrist poses and pinch distances of the next frame."""

DecodeImage = Callable[[Message, str], np.ndarray]
"""Converts an image message, given its type, to (H, W, 3) RGB."""


@dataclass(frozen=True)
class ExportConfig:
    """What to export from a bag."""

    decode: DecodeImage
    images: str = ""
    """Image topic; empty for the only one in the bag."""
    hands: str = "/hands"
    action: tuple[str, ...] = (NEXT,)
    """``NEXT``, or command topics of the types in ``COMMAND_TYPES``, whose numbers are concatenated in this order."""
    fps: int = 0
    """Frame rate; 0 for that of the recording."""
    task: str = ""
    """Task of a bag without marked episodes."""
    depth: str = ""
    """Topic of depth images; empty for none."""
    decode_depth: DecodeImage | None = None
    """Converts a depth message, given its type, to (H, W) uint16 millimetres, 0 where unknown."""


@dataclass(frozen=True)
class WorldHands:
    """The hands of one frame in the fixed frame."""

    frame: str
    """Name of the fixed frame."""
    hands: tuple[Message, ...]
    """Messages of the hands; empty where the pose of the camera is unknown."""
    camera_pose: Message | None
    """Pose of the camera in the fixed frame; None if it is unknown."""


@dataclass(frozen=True)
class Sample:
    """One frame of an episode."""

    stamp: int
    """Stamp of the image in nanoseconds."""
    state: np.ndarray
    """(len(STATE_NAMES),) float32."""
    action: np.ndarray
    """(len(action_names),) float32."""
    image: Callable[[], np.ndarray]
    """Decodes the image, (H, W, 3) RGB. Call it for one frame after the other, in order."""
    hands: Message
    """The HandArray."""
    world: WorldHands | None
    """None if the bag has no hands in a fixed frame."""
    depth: Callable[[], np.ndarray] | None = None
    """Decodes the depth image of the same moment, (H, W) uint16 millimetres, 0 where unknown; None without depth. Call
    it as ``image``."""


@dataclass
class Demonstration:
    """One episode."""

    task: str
    fps: int
    action_names: tuple[str, ...]
    samples: list[Sample]
    notes: list[str] = field(default_factory=list)
    """What is missing, one sentence each."""

    @property
    def has_world(self) -> bool:
        """Whether there are hands in a fixed frame."""
        return any(sample.world is not None for sample in self.samples)


def world_of(sample: Sample) -> np.ndarray:
    """Returns the (len(WORLD_NAMES),) numbers of a sample in the fixed frame; zero if they are unknown."""
    return world(sample.world.hands, sample.world.camera_pose) if sample.world is not None else world((), None)


KIND = "an annotated recording"
"""What a damaged bag is said not to be."""
_LONGEST_TEXT = 10_000
"""Characters of the name of a task or frame."""
_MAX_REPETITIONS = 100
"""Frames of a dataset for each image, at most."""


@dataclass(frozen=True)
class ExportSummary:
    """What was exported."""

    episodes: int
    frames: int
    notes: list[str]
    """What is missing, one sentence each."""


@dataclass(frozen=True)
class _Frame:
    """An image that has hands."""

    stamp: int
    """Nanoseconds; the time of receipt if the header has none."""
    received: int
    hands: Message
    world: WorldHands | None


@dataclass(frozen=True)
class _BagContents:
    """Everything in a bag except the images."""

    frames: list[_Frame]
    num_images: int
    num_hands: int
    num_unstamped: int
    """Images whose headers have the stamp 0."""
    marks: list[Mark]
    commands: list[CommandTopic]


def demonstrations(path: Path, config: ExportConfig) -> Iterator[Demonstration]:
    """Yields the episodes of one bag, in order.

    Raises:
        InputError: the bag has no images, no hands or no such action, an episode is empty, or messages have impossible
            values.
    """
    with Bag(path) as bag, foreign_bytes(path, KIND):
        images = _topic(bag, IMAGE_TYPES, config.images, "--image", excluded=("debug_image", "depth"))
        hands = _topic(bag, (HANDS,), config.hands, "--hands")
        command_topics = [_topic(bag, COMMAND_TYPES, name, "--action") for name in config.action if name != NEXT]
        if command_topics and NEXT in config.action:
            raise InputError(f"--action takes either {NEXT} or topics, not both")
        contents = _read(bag, images, hands, command_topics)
        frames = contents.frames
        notes = list(bag.problems)
        if len(frames) < 2:
            raise InputError(_why_no_frames(path, images.topic, hands.topic, contents))
        _check(path, contents, config.task)
        missing = contents.num_images - len(frames)
        if missing > 0:
            notes.append(f"{path}: {missing} of {contents.num_images} images have no hands message and are left out")
        found, problems = episodes(contents.marks, frames[-1].received)
        notes += [f"{path}: {problem}" for problem in problems]
        if not contents.marks:
            found = [Episode(config.task, frames[0].received, frames[-1].received)]
            if not config.task:
                raise InputError(f"{path}: no episodes are marked in this bag: describe the task with --task TEXT")
        fps = config.fps or _rate(frames)
        for episode in found:
            inside = [frame for frame in frames if episode.start <= frame.received <= episode.stop]
            demonstration = _demonstration(bag, images, inside, contents.commands, episode.task, fps, config.decode)
            if config.depth and config.decode_depth is not None:
                topic = _topic(bag, IMAGE_TYPES, config.depth, "--depth")
                depth = _DepthReader(bag, topic, inside[0].received, config.decode_depth)
                demonstration.samples = [
                    replace(sample, depth=partial(depth, sample.stamp)) for sample in demonstration.samples
                ]
            demonstration.notes[:0], notes = notes, []
            if not demonstration.samples:
                reasons = "; ".join(demonstration.notes)
                raise InputError(f"{path}: the episode {episode.task!r} has no frames: {reasons}")
            yield demonstration


def _check(path: Path, contents: _BagContents, task: str) -> None:
    """Raises InputError if texts or cameras are impossible: exports could not store them, or would pass them on."""
    texts = {task, *(mark.task for mark in contents.marks)}
    for frame in contents.frames:
        texts |= {frame.world.frame} if frame.world is not None else set()
        hands = frame.hands
        if not np.isfinite(hands.k).all() or not np.reshape(hands.k, (3, 3))[[0, 1], [0, 1]].min() > 0:
            raise InputError(f"{path}: the camera matrix of the hands at {frame.stamp} ns is impossible: {hands.k}")
    for text in texts:
        if "\0" in text or len(text) > _LONGEST_TEXT:
            raise InputError(f"{path}: the name of a task or frame has {len(text)} characters: {text[:40]!r}")


def _why_no_frames(path: Path, images: str, hands: str, contents: _BagContents) -> str:
    """Returns the message for a bag of which fewer than two images have hands."""
    counts = f"{path}: {contents.num_images} images on {images}, {contents.num_hands} messages on {hands}"
    if not contents.num_images or not contents.num_hands:
        return f"{counts}: run wildhands annotate on it first"
    if contents.num_unstamped:
        return (
            f"{counts}, but {contents.num_unstamped} images have the stamp 0 in their headers, so images and hands "
            "cannot be joined; run wildhands annotate, which writes hands with the time of receipt of their image"
        )
    return (
        f"{counts}, but only {len(contents.frames)} of them have the same stamp; perhaps the hands are of another "
        "camera: set --image and --hands, or run wildhands annotate"
    )


def _demonstration(
    bag: Bag,
    images: rosbag.Connection,
    frames: list[_Frame],
    commands: list[CommandTopic],
    task: str,
    fps: int,
    decode: DecodeImage,
) -> Demonstration:
    names = tuple(name for command in commands for name in command.names) or ACTION_NAMES
    demonstration = Demonstration(task, fps, names, [])
    if len(frames) < 2:
        demonstration.notes.append("it has fewer than two images")
        return demonstration
    seconds = (frames[-1].stamp - frames[0].stamp) / 1e9
    if seconds * fps > _MAX_REPETITIONS * len(frames):
        raise InputError(
            f"{bag.path}: the {len(frames)} images of the episode {task!r} span {seconds:.0f} s by their stamps, so at "
            f"{fps} frames/s most would be repetitions: was the clock set? Mark shorter episodes, or set --fps"
        )
    chosen = _at_rate([frame.stamp for frame in frames], fps)
    if repeated := int((np.diff(chosen) == 0).sum()):
        demonstration.notes.append(
            f"{task!r}: {repeated} of {len(chosen)} frames repeat the previous one, because images are missing"
        )
    image_reader = _ImageReader(bag, images, frames[0].received, decode)
    states = {number: state(frames[number].hands.hands) for number in set(chosen)}
    without_command = 0
    for place, number in enumerate(chosen):
        frame = frames[number]
        if commands:
            parts = [part for command in commands if (part := command.at(frame.received)) is not None]
            if len(parts) < len(commands):
                without_command += 1
                continue
            action = np.concatenate(parts)
        elif place + 1 < len(chosen):
            action = states[chosen[place + 1]][ACTION_IN_STATE]
        else:
            continue  # the last frame has no next one
        image = partial(image_reader, frame.stamp)
        demonstration.samples.append(Sample(frame.stamp, states[number], action, image, frame.hands, frame.world))
    if without_command:
        demonstration.notes.append(f"{task!r}: {without_command} frames precede the first command and are left out")
    return demonstration


class _ImageReader:
    """Decodes the images of a bag in the order of their stamps, so that a long recording need not fit into memory."""

    def __init__(self, bag: Bag, images: rosbag.Connection, start: int, decode: DecodeImage):
        self._bag, self._decode = bag, decode
        self._messages = bag.messages([images], start)
        self._stamp = -1
        self._image = np.zeros((0, 0, 3), np.uint8)

    def __call__(self, stamp: int) -> np.ndarray:
        while self._stamp != stamp:
            found = next(self._messages, None)
            if found is None:
                raise InputError(f"{self._bag.path}: the images are not in the order of their stamps")
            connection, received, data = found
            message = self._bag.read(connection, data)
            if message_stamp(message.header, received) == stamp:
                with foreign_bytes(f"the image with the stamp {stamp} ns in {self._bag.path}", "an image"):
                    self._stamp, self._image = stamp, self._decode(message, connection.msgtype)
        return self._image


class _DepthReader:
    """Decodes the depth images that are nearest to given stamps, which ascend."""

    def __init__(self, bag: Bag, topic: rosbag.Connection, start: int, decode: DecodeImage):
        self._topic, self._decode = topic, decode
        self._messages = (
            (message_stamp(message.header, received), message)
            for connection, received, data in bag.messages([topic], max(start - _AROUND, 0))
            for message in [bag.read(connection, data)]
        )
        self._last = self._next = next(self._messages, None)
        if self._last is None:
            raise InputError(f"{bag.path}: there are no depth images on {topic.topic} during an episode")
        self._shape = decode(self._last[1], topic.msgtype).shape

    def __call__(self, stamp: int) -> np.ndarray:
        """Returns (H, W) uint16 millimetres; all zero if no depth image is of this moment."""
        while self._next is not None and self._next[0] < stamp:
            self._last, self._next = self._next, next(self._messages, None)
        near = [found for found in (self._last, self._next) if found and abs(found[0] - stamp) <= DEPTH_TOLERANCE]
        if not near:
            return np.zeros(self._shape, np.uint16)
        return self._decode(min(near, key=lambda found: abs(found[0] - stamp))[1], self._topic.msgtype)


def _at_rate(stamps: Sequence[int], fps: int) -> list[int]:
    """Returns the number of the nearest frame for each tick of a clock with the rate ``fps``."""
    ticks = stamps[0] + np.arange(round((stamps[-1] - stamps[0]) * fps / 1e9) + 1) * (1e9 / fps)
    after = np.clip(np.searchsorted(stamps, ticks), 1, len(stamps) - 1)
    times = np.asarray(stamps, np.float64)
    nearest = np.where(ticks - times[after - 1] <= times[after] - ticks, after - 1, after)
    return nearest.tolist()


def _rate(frames: list[_Frame]) -> int:
    return max(1, round(1e9 / float(np.median(np.diff([frame.stamp for frame in frames])))))


def _topic(
    bag: Bag, message_types: Collection[str], name: str, option: str, excluded: Sequence[str] = ()
) -> rosbag.Connection:
    """Finds the topic of one of these types with this name, or the only one if ``name`` is empty.

    Raises:
        InputError: there is no such topic, or there are several.
    """
    found = {
        connection.topic: connection
        for connection in bag.of_type(*message_types)
        if name or not any(part in connection.topic for part in excluded)
    }
    if name in found:
        return found[name]
    if not name and len(found) == 1:
        return next(iter(found.values()))
    problem = f"no usable topic {name}" if name else "cannot choose a topic"
    available = ", ".join(sorted(found)) or "none"
    raise InputError(f"{bag.path}: {problem} (topics of the right type: {available}); set {option}")


def _read(
    bag: Bag, images: rosbag.Connection, hands: rosbag.Connection, command_topics: list[rosbag.Connection]
) -> _BagContents:
    received_by_stamp: dict[int, int] = {}
    num_images = num_hands = num_unstamped = 0
    hands_by_stamp: dict[int, Message] = {}
    marks: list[Mark] = []
    commands = {topic.topic: CommandTopic(topic.topic) for topic in command_topics}
    in_world = [topic for topic in bag.connections if topic.topic in (WORLD_HANDS_TOPIC, CAMERA_POSE_TOPIC)]
    world: dict[str, dict[int, Message]] = {topic.topic: {} for topic in in_world}
    for connection, received, data in bag.messages([images, hands, *bag.of_type(EVENT), *command_topics, *in_world]):
        message = bag.read(connection, data)
        if connection.topic in world:
            world[connection.topic][message_stamp(message.header, received)] = message
        elif connection.topic == images.topic:
            received_by_stamp[message_stamp(message.header, received)] = received
            num_images += 1
            num_unstamped += not message_stamp(message.header, 0)
        elif connection.topic == hands.topic:
            hands_by_stamp[message_stamp(message.header, received)] = message
            num_hands += 1
        elif connection.msgtype == EVENT:
            marks.append(Mark(message.event, message.episode, message.task, received))
        else:
            commands[connection.topic].add(received, message, connection.msgtype)
    for command in commands.values():
        if not len(command):
            raise InputError(f"{bag.path}: there is no message on {command.topic}")
    stamps = sorted(received_by_stamp.keys() & hands_by_stamp.keys())
    frames = [
        _Frame(stamp, received_by_stamp[stamp], hands_by_stamp[stamp], _world_hands(world, stamp)) for stamp in stamps
    ]
    return _BagContents(frames, num_images, num_hands, num_unstamped, marks, list(commands.values()))


def _world_hands(world: dict[str, dict[int, Message]], stamp: int) -> WorldHands | None:
    """Returns the hands of a stamp in the fixed frame, from the messages of both topics by stamp."""
    if len(world) < 2:
        return None
    poses, hands = world[CAMERA_POSE_TOPIC], world[WORLD_HANDS_TOPIC]
    frame = next((str(message.header.frame_id) for message in poses.values()), "")
    found = hands.get(stamp)
    pose = poses[stamp].pose if stamp in poses else None
    return WorldHands(frame, tuple(found.hands) if found is not None else (), pose)
