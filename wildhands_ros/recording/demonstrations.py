"""Demonstrations out of annotated bags: episodes of frames at a steady rate, each with its picture, its hands and an action."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import rosbags.interfaces as rosbag

from ..io.images import InputError
from .bags import IMAGE_TYPES, Bag
from .episodes import Episode, Mark, episodes
from .features import ACTION_IN_STATE, ACTION_NAMES, state

HANDS, EVENT = "wildhands_ros/msg/HandArray", "wildhands_ros/msg/EpisodeEvent"
NEXT = "next"
"""The action that is where the hands are in the next frame."""

DecodeImage = Callable[[object, str], np.ndarray]
"""A message and its type to (H, W, 3) RGB."""


@dataclass(frozen=True)
class ExportConfig:
    """What to export of a bag."""

    decode: DecodeImage
    images: str = ""
    """Topic; empty: the only one."""
    hands: str = "/hands"
    action: tuple[str, ...] = (NEXT,)
    """``NEXT``, or topics with commands (PoseStamped, TwistStamped, JointState, Float64, Float64MultiArray), joined in that order."""
    fps: int = 0
    """0: the recording's own rate."""
    task: str = ""
    """Of bags without marked episodes."""


@dataclass(frozen=True)
class Sample:
    """One frame of an episode."""

    stamp: int
    """Of the picture, nanoseconds."""
    state: np.ndarray
    """(len(STATE_NAMES),) float32."""
    action: np.ndarray
    """(len(action names),) float32."""
    image: Callable[[], np.ndarray]
    """Decodes the picture: (H, W, 3) RGB. Frame after frame, in their order."""
    hands: object
    """The HandArray."""


@dataclass
class Demonstration:
    """One episode."""

    task: str
    fps: int
    action_names: tuple[str, ...]
    samples: list[Sample]
    notes: list[str] = field(default_factory=list)
    """What is missing of it, one sentence each."""


@dataclass(frozen=True)
class _Frame:
    stamp: int
    received: int
    hands: object


def demonstrations(path: Path, config: ExportConfig) -> Iterator[Demonstration]:
    """The episodes of one bag, in order.

    :raises InputError: it has no pictures, no hands or no such action, or its episodes are empty.
    """
    with Bag(path) as bag:
        images = _topic(bag, IMAGE_TYPES, config.images, "--image", "debug_image")
        hands = _topic(bag, (HANDS,), config.hands, "--hands", None)
        topics = [_topic(bag, _ACTIONS, name, "--action", None) for name in config.action if name != NEXT]
        if topics and NEXT in config.action:
            raise InputError(f"--action is either {NEXT} or topics, not both")
        frames, marks, commands = _read(bag, images, hands, topics)
        notes = list(bag.problems)
        if len(frames) < 2:
            raise InputError(
                f"{path}: {len(frames)} pictures of {images.topic} have hands on {hands.topic}: run wildhands annotate on it first"
            )
        missing = images.msgcount - len(frames)
        if missing > 0:
            notes.append(f"{path}: {missing} of {images.msgcount} pictures have no hands message and are left out")
        found, problems = episodes(marks, frames[-1].received)
        notes += [f"{path}: {problem}" for problem in problems]
        if not marks:
            found = [Episode(config.task, frames[0].received, frames[-1].received)]
            if not config.task:
                raise InputError(f"{path}: no episodes are marked in it: say what is done in it with --task TEXT")
        fps = config.fps or _rate(frames)
        for episode in found:
            inside = [frame for frame in frames if episode.start <= frame.received <= episode.stop]
            demonstration = _demonstration(bag, images, inside, commands, episode.task, fps, config)
            demonstration.notes[:0], notes = notes, []
            if demonstration.samples:
                yield demonstration
            else:
                raise InputError(
                    f"{path}: the episode {episode.task!r} has no frames: {'; '.join(demonstration.notes)}"
                )


def _demonstration(
    bag, images, frames: list[_Frame], commands: list[_Commands], task: str, fps: int, config: ExportConfig
) -> Demonstration:
    names = tuple(name for command in commands for name in command.names) or ACTION_NAMES
    demonstration = Demonstration(task, fps, names, [])
    if len(frames) < 2:
        demonstration.notes.append("fewer than two pictures")
        return demonstration
    chosen, repeated = _at_rate([frame.stamp for frame in frames], fps)
    if repeated:
        demonstration.notes.append(
            f"{task!r}: {repeated} of {len(chosen)} frames repeat the one before, since pictures are missing"
        )
    pictures = _Pictures(bag, images, frames[0].received, config.decode)
    states = {number: state(frames[number].hands.hands) for number in set(chosen)}
    without_command = 0
    for place, number in enumerate(chosen):
        frame = frames[number]
        if commands:
            parts = [command.at(frame.received) for command in commands]
            if any(part is None for part in parts):
                without_command += 1
                continue
            action = np.concatenate(parts)
        elif place + 1 < len(chosen):
            action = states[chosen[place + 1]][ACTION_IN_STATE]
        else:
            continue  # the last frame has none after it
        demonstration.samples.append(
            Sample(frame.stamp, states[number], action, partial(pictures, frame.stamp), frame.hands)
        )
    if without_command:
        demonstration.notes.append(f"{task!r}: {without_command} frames come before the first command and are left out")
    return demonstration


class _Pictures:
    """Decodes pictures of a bag, asked for in the order of their stamps, so that a long recording need not fit into memory."""

    def __init__(self, bag: Bag, images: rosbag.Connection, start: int, decode: DecodeImage):
        self._bag, self._decode = bag, decode
        self._messages = bag.messages([images], start)
        self._stamp, self._image = -1, None

    def __call__(self, stamp: int) -> np.ndarray:
        while self._stamp != stamp:
            connection, _, data = next(self._messages, (None, 0, b""))
            if connection is None:
                raise InputError(f"{self._bag.path}: the pictures are not in the order of their stamps")
            message = self._bag.read(connection, data)
            if _stamp(message.header) == stamp:
                self._stamp, self._image = stamp, self._decode(message, connection.msgtype)
        return self._image


def _at_rate(stamps: Sequence[int], fps: int) -> tuple[list[int], int]:
    """For each tick the number of the nearest frame, and how many frames are used again."""
    ticks = stamps[0] + np.arange(round((stamps[-1] - stamps[0]) * fps / 1e9) + 1) * (1e9 / fps)
    after = np.clip(np.searchsorted(stamps, ticks), 1, len(stamps) - 1)
    times = np.asarray(stamps, np.float64)
    nearest = np.where(ticks - times[after - 1] <= times[after] - ticks, after - 1, after)
    return nearest.tolist(), int((np.diff(nearest) == 0).sum())


def _rate(frames: list[_Frame]) -> int:
    return max(1, round(1e9 / float(np.median(np.diff([frame.stamp for frame in frames])))))


@dataclass
class _Commands:
    """The messages of one action topic."""

    topic: str
    names: tuple[str, ...] = ()
    received: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def add(self, received: int, message, kind: str) -> None:
        names, values = _ACTIONS[kind](message)
        names = tuple(f"{self.topic.strip('/').replace('/', '.')}.{name}" for name in names)
        if self.names and names != self.names:
            raise InputError(f"{self.topic}: its messages do not all have the same names")
        self.names = names
        self.received.append(received)
        self.values.append(np.asarray(values, np.float32))

    def at(self, moment: int) -> np.ndarray | None:
        """The command in force: the last one received until then."""
        place = bisect_right(self.received, moment)
        return self.values[place - 1] if place else None


def _pose(message) -> tuple[Sequence[str], Sequence[float]]:
    p, q = message.pose.position, message.pose.orientation
    return ("x", "y", "z", "qx", "qy", "qz", "qw"), (p.x, p.y, p.z, q.x, q.y, q.z, q.w)


def _twist(message) -> tuple[Sequence[str], Sequence[float]]:
    v, w = message.twist.linear, message.twist.angular
    return ("vx", "vy", "vz", "wx", "wy", "wz"), (v.x, v.y, v.z, w.x, w.y, w.z)


_ACTIONS: dict[str, Callable[[object], tuple[Sequence[str], Sequence[float]]]] = {
    "geometry_msgs/msg/PoseStamped": _pose,
    "geometry_msgs/msg/TwistStamped": _twist,
    "sensor_msgs/msg/JointState": lambda message: (message.name, message.position),
    "std_msgs/msg/Float64": lambda message: (("value",), (message.data,)),
    "std_msgs/msg/Float64MultiArray": lambda message: (tuple(map(str, range(len(message.data)))), message.data),
}


def _topic(bag: Bag, kinds, wanted: str, option: str, never: str | None) -> rosbag.Connection:
    found = {
        connection.topic: connection for connection in bag.of_type(*kinds) if not (never and never in connection.topic)
    }
    if wanted in found:
        return found[wanted]
    if not wanted and len(found) == 1:
        return next(iter(found.values()))
    there = ", ".join(sorted(found)) or "none"
    raise InputError(
        f"{bag.path}: {f'no usable topic {wanted}' if wanted else 'which topic?'} ({there} of the right type): set {option}"
    )


def _read(bag: Bag, images, hands, actions) -> tuple[list[_Frame], list[Mark], list[_Commands]]:
    """Everything but the pictures themselves."""
    pictures: dict[int, int] = {}
    arrays: dict[int, object] = {}
    marks: list[Mark] = []
    commands = {topic.topic: _Commands(topic.topic) for topic in actions}
    for connection, received, data in bag.messages([images, hands, *bag.of_type(EVENT), *actions]):
        message = bag.read(connection, data)
        if connection.topic == images.topic:
            pictures[_stamp(message.header)] = received
        elif connection.topic == hands.topic:
            arrays[_stamp(message.header)] = message
        elif connection.msgtype == EVENT:
            marks.append(Mark(message.event, message.episode, message.task, received))
        else:
            commands[connection.topic].add(received, message, connection.msgtype)
    for command in commands.values():
        if not command.values:
            raise InputError(f"{bag.path}: {command.topic} holds no message")
    frames = [_Frame(stamp, pictures[stamp], arrays[stamp]) for stamp in sorted(pictures.keys() & arrays.keys())]
    return frames, marks, list(commands.values())


def _stamp(header) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec
