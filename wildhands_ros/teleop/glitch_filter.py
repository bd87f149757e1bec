"""Rejects glitches of a hand with a Hampel filter: a fixed number of images late, and otherwise unchanged.

A Hampel filter compares the sample in the middle of a window with the window's median and replaces it if it is farther
from it than a multiple of the median absolute deviation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from ..geometry.pose import Pose
from .observation import HandObservation

DEVIATIONS = 3.0
"""Standard deviations from the median beyond which a sample is a glitch."""
DEVIATION_OF_MEDIAN = 1.4826
"""Standard deviation of a normal distribution, divided by its median absolute deviation."""
NOISE_FLOOR = np.array([0.01, 0.1, 0.01])
"""Distances (m, rad, m) that are never glitches, because a hand at rest has nearly no deviation: position of the wrist,
rotation of the wrist, and joints in the frame of the wrist."""


class GlitchFilter:
    """Delays the hand of one operator by ``lag`` images and replaces glitches of up to ``lag`` images.

    An image without a hand is not part of the window: a hand that is lost is known to be lost without any delay.
    """

    def __init__(self, lag: int, longest_gap: float):
        """Creates an empty filter.

        Args:
            lag: images before and after an image with which its hand is compared; 0 returns all hands unchanged.
            longest_gap: seconds without a hand after which the next hand begins a new window.
        """
        self._lag, self._longest_gap = lag, longest_gap
        self._window: deque[HandObservation] = deque(maxlen=2 * lag + 1)
        self._last = -np.inf
        self.replaced = 0
        """Number of glitches that were replaced."""

    def clear(self) -> None:
        """Forgets the window; the next hand may be another one."""
        self._window.clear()

    def update(self, now: float, hand: HandObservation) -> HandObservation | None:
        """Adds the hand of an image.

        Args:
            now: time in seconds.
            hand: the hand; finite.

        Returns:
            The hand of ``lag`` images before, or the median of the window if that hand is a glitch; None while the
            window begins.
        """
        if now - self._last > self._longest_gap:
            self.clear()
        self._last = max(now, self._last)
        self._window.append(hand)
        if len(self._window) <= self._lag:
            return None
        middle = self._window[-1 - self._lag]
        if self._lag == 0:
            return middle
        median = _median(list(self._window))
        distances = np.array([_distances(each, median) for each in self._window])
        scale = DEVIATIONS * DEVIATION_OF_MEDIAN * np.median(distances, axis=0)
        if (_distances(middle, median) <= np.maximum(scale, NOISE_FLOOR)).all():
            return middle
        self.replaced += 1
        return replace(middle, wrist=median.wrist, joints=median.joints)


def _median(window: list[HandObservation]) -> HandObservation:
    """Returns the last hand with the window's median position, rotation and joints in the frame of the wrist."""
    rotations = np.array([hand.wrist.rotation for hand in window])
    # The rotation in the window that is nearest to the others: the trace of A^T B falls with the angle between them.
    traces = np.einsum("aij,bij->ab", rotations, rotations)
    angles = np.arccos(np.clip((traces - 1) / 2, -1, 1))
    rotation = rotations[np.argmin(angles.sum(axis=1))]
    wrist = Pose(rotation, np.median([hand.wrist.position for hand in window], axis=0))
    local = np.median([hand.local_joints for hand in window], axis=0)
    return replace(window[-1], wrist=wrist, joints=wrist.apply(local))


def _distances(hand: HandObservation, other: HandObservation) -> np.ndarray:
    """Returns (3,) distances between two hands, in the order of ``NOISE_FLOOR``."""
    cosine = (np.trace(hand.wrist.rotation.T @ other.wrist.rotation) - 1) / 2
    joints = np.linalg.norm(hand.local_joints - other.local_joints, axis=1)
    return np.array(
        [
            np.linalg.norm(hand.wrist.position - other.wrist.position),
            np.arccos(np.clip(cosine, -1, 1)),
            joints.max(),
        ]
    )
