"""Episodes of a recording: marking them while recording, and finding them when reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

START, STOP, DISCARD = 1, 2, 3
"""Values of ``event`` in ``wildhands_ros/msg/EpisodeEvent``."""


class EpisodeError(ValueError):
    """An episode cannot be started, stopped or discarded now."""


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
    """A demonstration: the messages received from ``start`` to ``stop``, in nanoseconds, both included."""

    task: str
    start: int
    stop: int


class EpisodeBook:
    """Keeps track of the running episode and returns the marks to record."""

    def __init__(self) -> None:
        self._count = 0
        self._last: Mark | None = None

    @property
    def running(self) -> bool:
        return self._last is not None and self._last.event == START

    def start(self, task: str) -> Mark:
        """Starts an episode.

        Raises:
            EpisodeError: an episode is running, or the task is empty.
        """
        if self._last is not None and self.running:
            raise EpisodeError(
                f"episode {self._last.episode} ({self._last.task!r}) is still running: stop or discard it first"
            )
        if not task.strip():
            raise EpisodeError("an episode needs a task, such as 'put the cup on the plate'")
        self._last = Mark(START, self._count, task.strip())
        self._count += 1
        return self._last

    def stop(self) -> Mark:
        """Stops the running episode.

        Raises:
            EpisodeError: no episode is running.
        """
        if self._last is None or not self.running:
            raise EpisodeError("no episode is running")
        self._last = Mark(STOP, self._last.episode, self._last.task)
        return self._last

    def discard(self) -> Mark:
        """Discards the running episode, or the last one.

        Raises:
            EpisodeError: there is no episode, or it has been discarded already.
        """
        if self._last is None or self._last.event == DISCARD:
            raise EpisodeError("there is no episode to discard")
        self._last = Mark(DISCARD, self._last.episode, self._last.task)
        return self._last


def episodes(marks: Iterable[Mark], end: int) -> tuple[list[Episode], list[str]]:
    """Finds the episodes of a recording.

    Args:
        marks: the marks in the recording.
        end: end of the recording in nanoseconds; an episode that was never stopped ends there.

    Returns:
        The episodes that were not discarded, in order, and problems with the marks, one sentence each.
    """
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
            problems.append(f"episode {mark.episode} ({mark.task!r}) was stopped but never started; it is left out")
    for number, begun in open_marks.items():
        problems.append(f"episode {number} ({begun.task!r}) was never stopped; it ends with the recording")
        found[number] = Episode(begun.task, begun.stamp, end)
    return [found[number] for number in sorted(found)], problems
