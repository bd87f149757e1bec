"""Continuity of the image stream: the time of each image, and whether it starts a new stream."""

from __future__ import annotations

from dataclasses import dataclass

from .rejections import InputRejected

MAX_JUMP = 1.0
"""Seconds by which stamps may deviate from the times of arrival; more means that the clock was set."""
MAX_STRAYS = 3
"""Consecutive late images that are rejected as out of order; more start a new stream, for example a bag that plays
again."""


@dataclass(frozen=True)
class StreamTime:
    """The time of an image within its stream."""

    seconds: float
    """Never decreases within a stream."""
    reset: str = ""
    """Why the image starts a new stream: "frame_changed", "size_changed", "stamps_changed" (stamps appeared or
    disappeared), "clock_jumped_back" or "clock_jumped_forward"; empty for an image that continues the stream, and for
    the first one."""


@dataclass(frozen=True)
class _Source:
    frame_id: str
    size: tuple[int, int]
    is_stamped: bool


class Stream:
    """Follows the stamps, frame and size of images in their order of arrival."""

    def __init__(self) -> None:
        self._source: _Source | None = None
        self._seconds = self._arrival = 0.0
        self._strays = 0

    def add(self, stamp: int, arrival: float, frame_id: str, size: tuple[int, int]) -> StreamTime:
        """Adds an image and returns its time.

        Args:
            stamp: stamp of the image in nanoseconds; if the driver sets none (0), the time of arrival is used.
            arrival: time of arrival, in seconds of a monotonic clock.
            frame_id: TF frame of the image.
            size: width and height of the image in pixels.

        Raises:
            InputRejected: the image is older than an earlier one.
        """
        seconds, source = stamp / 1e9 if stamp else arrival, _Source(frame_id, size, bool(stamp))
        reset = self._reset_reason(source, seconds, arrival)
        self._source, self._seconds, self._arrival, self._strays = source, seconds, arrival, 0
        return StreamTime(seconds, reset)

    def _reset_reason(self, source: _Source, seconds: float, arrival: float) -> str:
        if self._source is None:
            return ""
        if source.frame_id != self._source.frame_id:
            return "frame_changed"
        if source.size != self._source.size:
            return "size_changed"
        if source.is_stamped != self._source.is_stamped:
            return "stamps_changed"
        late = self._seconds - seconds
        if late > 0:
            if late > MAX_JUMP or self._strays == MAX_STRAYS:
                return "clock_jumped_back"
            self._strays += 1
            raise InputRejected(
                "out_of_order",
                f"an image is {late:.3f} s older than an earlier one: does more than one camera publish on this topic?",
            )
        return "clock_jumped_forward" if -late - (arrival - self._arrival) > MAX_JUMP else ""
