"""Robot commands in a bag as actions: vectors of named numbers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..io.images import InputError
from .message import Message


@dataclass(frozen=True)
class Command:
    """The numbers of one command message."""

    names: tuple[str, ...]
    values: Sequence[float]


class CommandTopic:
    """The messages of one command topic, in the order of receipt.

    Attributes:
        topic: name of the topic.
        names: names of the numbers; empty before the first message.
    """

    def __init__(self, topic: str):
        self.topic = topic
        self.names: tuple[str, ...] = ()
        self._received: list[int] = []
        self._values: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._received)

    def add(self, received: int, message: Message, message_type: str) -> None:
        """Adds a message received at ``received``, in nanoseconds.

        Raises:
            InputError: its numbers have other names than those of earlier messages.
        """
        command = COMMAND_TYPES[message_type](message)
        names = tuple(f"{self.topic.strip('/').replace('/', '.')}.{name}" for name in command.names)
        if self.names and names != self.names:
            raise InputError(
                f"{self.topic}: the names in its messages change from {', '.join(self.names)} to {', '.join(names)}; "
                "perhaps several nodes publish on this topic: export another one"
            )
        self.names = names
        self._received.append(received)
        self._values.append(np.asarray(command.values, np.float32))

    def at(self, time: int) -> np.ndarray | None:
        """Returns the last command received until ``time``, in nanoseconds; None if there is none."""
        place = bisect_right(self._received, time)
        return self._values[place - 1] if place else None


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
