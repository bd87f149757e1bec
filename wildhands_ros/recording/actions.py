"""Robot commands in a bag as actions: vectors of named numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..io.images import InputError
from .message import Message

_MOST_NUMBERS, _LONGEST_NAME = 1000, 1000
"""Numbers of a command, and characters of the name of one."""


@dataclass(frozen=True)
class Command:
    """The numbers of one command message."""

    names: tuple[str, ...]
    values: Sequence[float]


class CommandTopic:
    """The messages of one command topic, in the order of receipt.

    Numbers are joined by their names: several nodes may publish joint states on one topic, each with its own joints and
    in any order. The last value of each counts.

    Attributes:
        topic: name of the topic.
        names: names of the numbers; empty before the first message.
    """

    def __init__(self, topic: str):
        self.topic = topic
        self.names: tuple[str, ...] = ()
        self._received: list[int] = []
        self._places: dict[str, int] = {}
        self._last = np.zeros(0, np.float32)
        self._values: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._received)

    def add(self, received: int, message: Message, message_type: str) -> None:
        """Adds a message received at ``received``, in nanoseconds.

        Raises:
            InputError: its numbers do not fit their names, or the length of an array changes.
        """
        command = COMMAND_TYPES[message_type](message)
        if len(command.names) != len(command.values):
            raise InputError(
                f"{self.topic}: a message has {len(command.names)} names and {len(command.values)} positions; perhaps "
                "it holds only velocities or efforts: export another topic"
            )
        if len(command.names) > _MOST_NUMBERS or any(
            len(name) > _LONGEST_NAME or "\0" in name for name in command.names
        ):
            raise InputError(
                f"{self.topic}: a message has {len(command.names)} numbers, or names of numbers that no robot has; "
                "export another topic"
            )
        names = [f"{self.topic.strip('/').replace('/', '.')}.{name}" for name in command.names]
        if self.names and message_type not in _JOINED_BY_NAME and tuple(names) != self.names:
            raise InputError(
                f"{self.topic}: the messages have {len(self.names)} numbers, then {len(names)}; perhaps several nodes "
                "publish on this topic: export another one"
            )
        for name in names:
            self._places.setdefault(name, len(self._places))
        if len(self._places) > len(self.names):
            self.names = tuple(self._places)
            added = len(self.names) - len(self._last)
            self._last = np.concatenate([self._last, np.zeros(added, np.float32)])
        self._last = self._last.copy()
        self._last[[self._places[name] for name in names]] = np.asarray(command.values, np.float32)
        self._received.append(received)
        self._values.append(self._last)

    def at(self, time: int) -> np.ndarray | None:
        """Returns the last value of each number until ``time``, in nanoseconds; None if one of them has none yet."""
        place = bisect_right(self._received, time)
        if not place or len(self._values[place - 1]) < len(self.names):
            return None
        return self._values[place - 1]


def _pose(message: Message) -> Command:
    p, q = message.pose.position, message.pose.orientation
    return Command(("x", "y", "z", "qx", "qy", "qz", "qw"), (p.x, p.y, p.z, q.x, q.y, q.z, q.w))


def _twist(message: Message) -> Command:
    v, w = message.twist.linear, message.twist.angular
    return Command(("vx", "vy", "vz", "wx", "wy", "wz"), (v.x, v.y, v.z, w.x, w.y, w.z))


COMMAND_TYPES: dict[str, Callable[[Message], Command]] = {
    "geometry_msgs/msg/PoseStamped": _pose,
    "geometry_msgs/msg/TwistStamped": _twist,
    "sensor_msgs/msg/JointState": lambda message: Command(tuple(message.name), message.position),
    "std_msgs/msg/Float64": lambda message: Command(("value",), (message.data,)),
    "std_msgs/msg/Float64MultiArray": lambda message: Command(
        tuple(str(number) for number in range(len(message.data))), message.data
    ),
}
"""Message types that can be exported as actions."""
_JOINED_BY_NAME = ("sensor_msgs/msg/JointState",)
