"""Whether an image continues those before it, and at what time it was taken."""

from __future__ import annotations

from .rejections import InputRejected

JUMP = 1.0
"""Seconds by which a stamp may be off the time of arrival's course; more is a jump of the clock."""
MOST_STRAYS = 3
"""Late images in a row that are taken for strays; more of them are a new stream, as of a bag that started over."""


class Stream:
    """Follows stamps, frame and size of the images, in their order of arrival."""

    def __init__(self):
        self._source: tuple | None = None
        self._stamp = self._arrival = 0.0
        self._strays = 0

    def moment(self, stamp: int, arrival: float, frame_id: str, size: tuple[int, int]) -> tuple[float, str]:
        """The time of an image, and why it begins a new stream.

        Args:
            stamp: of its header, nanoseconds; 0 where the driver sets none, and then the time of arrival stands in for it.
            arrival: seconds of a monotonic clock.
            frame_id: of its header.
            size: width and height.

        Returns:
            Seconds that do not decrease within a stream, and "" or, for the first image of a new one, what has changed: "frame_changed",
            "size_changed", "stamps_changed" (they came or went), "clock_jumped_back" or "clock_jumped_forward".

        :raises InputRejected: older than an image before it.
        """
        seconds = stamp / 1e9 if stamp else arrival
        change = self._change(bool(stamp), seconds, arrival, frame_id, size)
        self._source, self._stamp, self._arrival, self._strays = (frame_id, size, bool(stamp)), seconds, arrival, 0
        return seconds, change

    def _change(self, is_stamped: bool, seconds: float, arrival: float, frame_id: str, size: tuple[int, int]) -> str:
        if self._source is None:
            return ""
        for name, old, new in zip(
            ("frame_changed", "size_changed", "stamps_changed"), self._source, (frame_id, size, is_stamped), strict=True
        ):
            if old != new:
                return name
        late = self._stamp - seconds
        if late > 0:
            if late > JUMP or self._strays == MOST_STRAYS:
                return "clock_jumped_back"
            self._strays += 1
            raise InputRejected(
                "out_of_order",
                f"an image is {late:.3f} s older than one before it: does more than one camera publish here?",
            )
        return "clock_jumped_forward" if -late - (arrival - self._arrival) > JUMP else ""
