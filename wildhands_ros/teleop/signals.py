"""One-dimensional signals of a teleoperated hand: a held gesture with hysteresis, and a value that changes at a limited rate."""

from __future__ import annotations

import numpy as np


class HeldGesture:
    """On once a value has been above ``on`` for ``hold`` seconds; off at once below ``off`` or when the value is missing."""

    def __init__(self, on: float, off: float, hold: float):
        self._on, self._off, self._hold = on, off, hold
        self._since: float | None = None
        self.active = False

    def update(self, now: float, value: float | None) -> bool:
        """Takes the value at ``now`` (seconds), None where the hand is missing; returns whether the gesture is made."""
        threshold = self._off if self.active else self._on
        if value is None or not value > threshold:
            self._since, self.active = None, False
        else:
            self._since = now if self._since is None else self._since
            self.active = now - self._since >= self._hold
        return self.active


class RateLimited:
    """Follows values (any shape) at no more than a rate per second for each; starts at the first one."""

    def __init__(self, rate: float, longest_step: float = 0.1):
        """Counts at most ``longest_step`` seconds between two values, so that a pause is no leave to jump."""
        self._rate, self._longest_step = rate, longest_step
        self._value: np.ndarray | None = None
        self._at = 0.0

    def update(self, now: float, target: np.ndarray) -> np.ndarray:
        """The value at ``now`` (seconds) on its way to ``target``. Infinite or NaN targets leave it where it is."""
        target = np.asarray(target, dtype=float)
        if self._value is None:
            self._value, self._at = target, now
        elif np.isfinite(target).all():
            reach = self._rate * float(np.clip(now - self._at, 0.0, self._longest_step))
            self._value = self._value + np.clip(target - self._value, -reach, reach)
        self._at = max(now, self._at)
        return self._value


def opening(pinch: float, closed: float, opened: float) -> float:
    """0 where the fingers are ``closed`` metres apart or nearer, 1 from ``opened`` metres on, linear between."""
    return float(np.clip((pinch - closed) / (opened - closed), 0.0, 1.0))
