"""The length of a hand, from the wrist to the tip of the middle finger of the flat hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..hand_model.asset import HandAsset, joints_linear
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from ..io.hand_files import LONGEST, SHORTEST
from ..types import HandLength, Side

_MIDDLE_TIP = MANO_TO_MEDIAPIPE[12]

SYSTEMATIC_STDDEV = 0.035
"""Standard deviation as a fraction of the error that all measurements of one hand have in common, because its keypoints
are detected too near to each other or too far apart: 3 to 5 % in ``wildhands evaluate multiview --rigs``."""
LEAST_STDDEV = 0.012
"""Least standard deviation of a learned length as a fraction."""
ADULTS = HandLength(0.187, 0.012)
"""Mean and standard deviation of the hands of adults: half of them men, 194 mm with a standard deviation of 10 mm, and
half women, 181 and 10 mm (hand length in Gordon et al., 1988 Anthropometric Survey of U.S. Army Personnel)."""
EXACT_STDDEV = 2e-5
"""Standard deviation of an exact length in metres; stiff, but still well conditioned."""
_ALIKE = 2 / 3
"""Seconds within which measurements count as one, because their errors are alike."""
_INTERVAL = 1 / 30
"""Seconds between measurements of which it is not known."""
_OUTLIER = 3.0
"""Number of standard deviations beyond which a measurement counts less."""
_FADING_STDDEV = 0.01
"""Least standard deviation of the mean of measurements as a fraction, without their common error."""
_BETWEEN_SIDES = 0.015
"""Standard deviation of the difference between both hands of a person as a fraction."""


def hand_length(asset: HandAsset, betas: np.ndarray) -> float:
    """Returns the length in metres of a hand with these shape coefficients."""
    joints, dirs = joints_linear(asset)
    reach = (joints + dirs[..., : len(betas)] @ betas)[[_MIDDLE_TIP, 0]]
    return float(np.linalg.norm(reach[0] - reach[1]))


class LengthEstimate:
    """Learns the length of one hand from many measurements.

    Args:
        known: What is known before. The measurements must not contain it.
    """

    def __init__(self, known: HandLength | None = None):
        self._known = known
        self._mean, self._precision = 0.0, 0.0
        self._stamp: float | None = None

    @property
    def length(self) -> HandLength | None:
        """The learned length; None before the first measurement."""
        if not self._precision:
            return self._known
        return combined(self._known, HandLength(self._mean, self._precision**-0.5))

    def add(self, measured: HandLength, stamp: float | None = None) -> None:
        """Adds a measurement; impossible ones are ignored.

        Args:
            measured: The measurement.
            stamp: Its time in seconds; None if it is unknown.
        """
        if not (SHORTEST < measured.metres < LONGEST and 0 < measured.stddev < np.inf):
            return
        last, self._stamp = self._stamp, stamp
        interval = _INTERVAL if stamp is None or last is None or stamp < last else stamp - last
        precision = min(interval / _ALIKE, 1.0) / measured.stddev**2
        length = self.length
        if length is not None:
            sigmas = abs(measured.metres - length.metres) / np.hypot(length.stddev, measured.stddev)
            precision *= min(1.0, _OUTLIER / max(sigmas, 1e-9)) ** 2
        total = self._precision + precision
        self._mean += (measured.metres - self._mean) * precision / total
        # What was learned long ago fades, so that another person's hand is learned too.
        self._precision = min(total, 1 / (_FADING_STDDEV * self._mean) ** 2)


def combined(known: HandLength | None, measured: HandLength) -> HandLength:
    """Returns a length, given what is known before and the mean of measurements without their common error."""
    precision = 1 / (measured.stddev**2 + (SYSTEMATIC_STDDEV * measured.metres) ** 2)
    weighted = precision * measured.metres
    if known is not None:
        precision += known.stddev**-2
        weighted += known.metres / known.stddev**2
    mean = weighted / precision
    return HandLength(mean, max(precision**-0.5, LEAST_STDDEV * mean))


def learned_together(learned: Sequence[Mapping[Side, HandLength]]) -> dict[Side, HandLength]:
    """Returns the lengths that several learners have learned from different images, each beginning with ``ADULTS``."""
    lengths = {}
    for side in Side:
        precision, weighted = 0.0, 0.0
        for own in (lengths_of_one[side] for lengths_of_one in learned if side in lengths_of_one):
            measured = _measured(own)
            if measured is not None:
                precision += measured.stddev**-2
                weighted += measured.metres / measured.stddev**2
        if precision:
            lengths[side] = combined(ADULTS, HandLength(weighted / precision, precision**-0.5))
    return lengths


def _measured(learned: HandLength) -> HandLength | None:
    """Returns what ``combined`` was given besides ``ADULTS``; None if there was nothing."""
    precision = 1 / learned.stddev**2 - 1 / ADULTS.stddev**2
    if precision <= 0:
        return None
    mean = (learned.metres / learned.stddev**2 - ADULTS.metres / ADULTS.stddev**2) / precision
    variance = 1 / precision - (SYSTEMATIC_STDDEV * mean) ** 2
    return HandLength(mean, max(variance**0.5 if variance > 0 else 0.0, _FADING_STDDEV * mean))


def exact_lengths(metres: float) -> dict[Side, HandLength]:
    """Returns the same exact length for both sides; none if it is 0, which stands for unknown."""
    return {side: HandLength(metres, EXACT_STDDEV) for side in Side} if metres else {}


class HandLengths:
    """Lengths of the hands of one person: given, or learned.

    Args:
        given: Lengths that do not change any more.
    """

    def __init__(self, given: Mapping[Side, HandLength] | None = None):
        self._given = dict(given or {})
        self._learned: dict[Side, LengthEstimate] = {}

    def get(self, side: Side) -> HandLength | None:
        """Returns the length of a side's hand, or else that of the other hand, less exactly; None if both are
        unknown."""
        own = self._own(side)
        if own is not None:
            return own
        other = self._own(side.other)
        if other is None:
            return None
        return HandLength(other.metres, float(np.hypot(other.stddev, _BETWEEN_SIDES * other.metres)))

    def given(self, side: Side) -> HandLength | None:
        """Returns the length of a side that was given; None if it is learned."""
        return self._given.get(side)

    def known(self) -> dict[Side, HandLength]:
        """Returns the lengths of the sides that were given or learned."""
        return {side: own for side in Side if (own := self._own(side)) is not None}

    def add(self, side: Side, measured: HandLength, stamp: float | None = None) -> None:
        """Learns from a measurement at a time in seconds, if that is known; a given length stays as it is."""
        if side not in self._given:
            self._learned.setdefault(side, LengthEstimate(ADULTS)).add(measured, stamp)

    def give(self, lengths: Mapping[Side, HandLength]) -> None:
        """Replaces the given lengths. Without one, a side's length is learned."""
        self._given = dict(lengths)

    def start_from(self, lengths: Mapping[Side, HandLength]) -> None:
        """Forgets what was learned, and continues from other lengths, such as those of a file."""
        self._learned = {side: LengthEstimate(length) for side, length in lengths.items()}

    def _own(self, side: Side) -> HandLength | None:
        if side in self._given:
            return self._given[side]
        return self._learned[side].length if side in self._learned else None
