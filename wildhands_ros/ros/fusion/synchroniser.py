"""Finds the messages of several cameras that belong to one moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

ALIVE = 0.5
"""Seconds after the last message of a camera for which another one is expected."""
KEPT = 8
"""Number of messages that wait of each camera."""


@dataclass(frozen=True)
class Stamped(Generic[T]):
    """A message."""

    stamp: float
    """Time of the image in seconds."""
    arrival: float
    """Seconds of the monotonic clock."""
    item: T


class Synchroniser(Generic[T]):
    """Collects messages until all cameras that are alive have sent one of the same moment, or for a limited time.

    Args:
        cameras: Names of the cameras.
        tolerance: Largest difference of the stamps in seconds.
        max_wait: Longest time in seconds for which a message waits.
        on_restart: Called when the clock was set back, or a bag starts again.
    """

    def __init__(
        self, cameras: Sequence[str], tolerance: float, max_wait: float, on_restart: Callable[[], None] = lambda: None
    ):
        self._tolerance, self._max_wait, self._on_restart = tolerance, max_wait, on_restart
        self._waiting: dict[str, deque[Stamped[T]]] = {name: deque(maxlen=KEPT) for name in cameras}
        self._last_arrival = dict.fromkeys(cameras, -float("inf"))
        self._last_stamp = -float("inf")

    def add(self, camera: str, message: Stamped[T]) -> bool:
        """Adds a message; returns False if it belongs to a moment that has passed already, and is dropped."""
        self._last_arrival[camera] = message.arrival
        if message.stamp <= self._last_stamp - self._tolerance:
            if message.stamp > self._last_stamp - 1.0:
                return False
            self.clear()
            self._on_restart()
        waiting = self._waiting[camera]
        if waiting and message.stamp <= waiting[-1].stamp:
            waiting.clear()
        waiting.append(message)
        return True

    def clear(self) -> None:
        """Forgets all messages."""
        for waiting in self._waiting.values():
            waiting.clear()
        self._last_stamp = -float("inf")

    def next(self, now: float) -> dict[str, Stamped[T]] | None:
        """Returns the messages of the next moment, at most one of each camera; None if some are still waited for.

        Args:
            now: Seconds of the monotonic clock.
        """
        firsts = {name: waiting[0] for name, waiting in self._waiting.items() if waiting}
        if not firsts:
            return None
        oldest = min(firsts.values(), key=lambda message: message.stamp)
        group = {
            name: min(waiting, key=lambda message: abs(message.stamp - oldest.stamp))
            for name, waiting in self._waiting.items()
            if waiting
        }
        group = {
            name: message for name, message in group.items() if abs(message.stamp - oldest.stamp) <= self._tolerance
        }
        # A camera whose next image is later has none of this moment.
        missing = [name for name, last in self._last_arrival.items() if name not in firsts and now - last <= ALIVE]
        if missing and now - oldest.arrival < self._max_wait:
            return None
        for name, message in group.items():
            waiting = self._waiting[name]
            while waiting and waiting[0].stamp <= message.stamp:
                waiting.popleft()
        self._last_stamp = max(message.stamp for message in group.values())
        return group

    def deadline(self) -> float | None:
        """Returns the time until which the waiting messages wait for others, in seconds of the monotonic clock; None if
        there are none."""
        firsts = [waiting[0] for waiting in self._waiting.values() if waiting]
        if not firsts:
            return None
        return min(firsts, key=lambda message: message.stamp).arrival + self._max_wait
