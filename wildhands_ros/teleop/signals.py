"""Signals of a hand: a held gesture with hysteresis, and a rate-limited value."""

from __future__ import annotations

import numpy as np


class HeldGesture:
    """Detects a gesture that is held.

    It becomes active when a value has been above ``on`` for ``hold`` seconds, and inactive as soon as the value is
    below ``off`` or missing.
    """

    def __init__(self, on: float, off: float, hold: float):
        self._on, self._off, self._hold = on, off, hold
        self._since: float | None = None
        self.active = False

    def update(self, now: float, value: float | None) -> bool:
        """Adds the value at ``now`` (seconds), None if the hand is missing. Returns whether the gesture is active."""
        threshold = self._off if self.active else self._on
        if value is None or not value > threshold:
            self._since, self.active = None, False
        else:
            self._since = now if self._since is None else self._since
            self.active = now - self._since >= self._hold
        return self.active


class RateLimited:
    """Follows values of any shape; each element changes at a limited rate. It starts at the first value."""

    def __init__(self, rate: float, longest_step: float = 0.1):
        """Initialises it without a value.

        Args:
            rate: maximum change per second.
            longest_step: seconds that count at most between two updates, so that a pause does not allow a jump.
        """
        self._rate, self._longest_step = rate, longest_step
        self._value: np.ndarray | None = None
        self._at = 0.0

    def update(self, now: float, target: np.ndarray, share: float = 1.0) -> np.ndarray:
        """Returns the value at ``now``, moved towards ``target``; a non-finite target is ignored.

        Args:
            now: time in seconds.
            target: where the value is to go.
            share: share of the rate that is allowed now, from 0 to 1.

        Raises:
            ValueError: the first target is not finite.
        """
        target = np.asarray(target, dtype=float)
        if self._value is None:
            if not np.isfinite(target).all():
                raise ValueError(f"the first target is {target.tolist()}, so there is nothing to start at")
            self._value, self._at = target, now
        elif np.isfinite(target).all():
            reach = share * self._rate * float(np.clip(now - self._at, 0.0, self._longest_step))
            self._value = self._value + np.clip(target - self._value, -reach, reach)
        self._at = max(now, self._at)
        return self._value


def opening(pinch: float, closed: float, opened: float) -> float:
    """Returns 0 if the fingers are at most ``closed`` metres apart, 1 from ``opened`` metres on, linear in between."""
    return float(np.clip((pinch - closed) / (opened - closed), 0.0, 1.0))
