"""Measures the time from the exposure of an image to the first command that follows its hand."""

from __future__ import annotations

from collections import deque

import numpy as np

RECENT_IMAGES = 300
"""Images over which ``summary`` goes: 10 s at 30 Hz."""


class Latency:
    """Camera-to-command latency. The camera driver must stamp images when they are taken, by the clock of the node."""

    def __init__(self) -> None:
        self._last_stamp: int | None = None
        self._recent: deque[float] = deque(maxlen=RECENT_IMAGES)

    def add(self, stamp: int, now: int) -> float | None:
        """Adds a command.

        Args:
            stamp: stamp of the image whose hand the command follows, in nanoseconds.
            now: when the command was sent, in nanoseconds of the same clock.

        Returns:
            The latency in seconds; None if an earlier command followed the same image.
        """
        if stamp == self._last_stamp:
            return None
        self._last_stamp = stamp
        self._recent.append((now - stamp) / 1e9)
        return self._recent[-1]

    def summary(self) -> str:
        """Returns median and 95th percentile of the last images."""
        if not self._recent:
            return "none: no command has been sent"
        median, p95 = np.percentile(self._recent, (50, 95)) * 1e3
        return f"{median:.0f} ms (95 %: {p95:.0f} ms)"
