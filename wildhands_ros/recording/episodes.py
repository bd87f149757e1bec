"""Episodes of a recording: marked while recording, found again when reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

START, STOP, DISCARD = 1, 2, 3
"""Values of ``wildhands_ros/msg/EpisodeEvent.event``."""


class EpisodeError(ValueError):
    """An episode cannot be started, stopped or discarded now; the message says why."""


@dataclass(frozen=True)
class Mark:
    """One message of the topic ``episodes``."""

    event: int
    episode: int
    task: str
    stamp: int = 0
    """Nanoseconds."""


@dataclass(frozen=True)
class Episode:
    """What a demonstration consists of: the data between two times, nanoseconds, inclusive."""

    task: str
    start: int
    stop: int


class EpisodeBook:
    """Which episode is running; gives the marks to record."""

    def __init__(self):
        self._count = 0
        self._last: Mark | None = None

    @property
    def running(self) -> bool:
        return self._last is not None and self._last.event == START

    def start(self, task: str) -> Mark:
        """:raises EpisodeError: one is running, or the task is empty."""
        if self.running:
            raise EpisodeError(
                f"episode {self._last.episode} ({self._last.task!r}) is still running: stop or discard it first"
            )
        if not task.strip():
            raise EpisodeError("an episode needs a task text, such as 'put the cup on the plate'")
        self._last = Mark(START, self._count, task.strip())
        self._count += 1
        return self._last

    def stop(self) -> Mark:
        """:raises EpisodeError: none is running."""
        if not self.running:
            raise EpisodeError("no episode is running")
        self._last = Mark(STOP, self._last.episode, self._last.task)
        return self._last

    def discard(self) -> Mark:
        """The running episode, or else the last one.

        :raises EpisodeError: there is none, or it is discarded already.
        """
        if self._last is None or self._last.event == DISCARD:
            raise EpisodeError("there is no episode to discard")
        self._last = Mark(DISCARD, self._last.episode, self._last.task)
        return self._last


def episodes(marks: Iterable[Mark], end: int) -> tuple[list[Episode], list[str]]:
    """The episodes that count, in order, and what is odd about them. One that was never stopped lasts to the ``end``, nanoseconds."""
    open_marks: dict[int, Mark] = {}
    found: dict[int, Episode] = {}
    problems = []
    for mark in sorted(marks, key=lambda mark: mark.stamp):
        if mark.event == START:
            open_marks[mark.episode] = mark
        elif mark.event == DISCARD:
            open_marks.pop(mark.episode, None)
            found.pop(mark.episode, None)
        elif (begun := open_marks.pop(mark.episode, None)) is not None:
            found[mark.episode] = Episode(begun.task, begun.stamp, mark.stamp)
        else:
            problems.append(f"episode {mark.episode} ({mark.task!r}) ends but never began: left out")
    for number, begun in open_marks.items():
        problems.append(f"episode {number} ({begun.task!r}) was never stopped: it lasts to the recording's end")
        found[number] = Episode(begun.task, begun.stamp, end)
    return [found[number] for number in sorted(found)], problems
