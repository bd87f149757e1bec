"""The length of a hand, from the wrist to the tip of the middle finger of the flat hand."""

from __future__ import annotations

import numpy as np

from ..hand_model.asset import HandAsset, joints_linear
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from ..types import HandLength
from .kinematics import HandKinematics

_MIDDLE_TIP = MANO_TO_MEDIAPIPE[12]

SHORTEST, LONGEST = 0.08, 0.28
"""Range of lengths of hands in metres, children included."""
LEAST_STDDEV = 0.012
"""Standard deviation of a learned length as a fraction: errors that all images have in common."""
_ALIKE = 20.0
"""Number of measurements in a row that count as one, because their errors are alike."""
_OUTLIER = 3.0
"""Number of standard deviations beyond which a measurement counts less."""
LENGTH_STDDEV = 0.07
"""Standard deviation of adult hand lengths as a fraction."""


def typical_length(kinematics: HandKinematics) -> HandLength:
    """Returns what is known of the length of an unknown hand."""
    mean = float(kinematics.length(np.zeros(kinematics.num_betas))[0])
    return HandLength(mean, LENGTH_STDDEV * mean)


def hand_length(asset: HandAsset, betas: np.ndarray) -> float:
    """Returns the length in metres of a hand with these shape coefficients."""
    joints, dirs = joints_linear(asset)
    reach = (joints + dirs[..., : len(betas)] @ betas)[[_MIDDLE_TIP, 0]]
    return float(np.linalg.norm(reach[0] - reach[1]))


class LengthEstimate:
    """Learns the length of one hand from many measurements.

    Args:
        known: What is known before.
    """

    def __init__(self, known: HandLength | None = None):
        self._mean, self._precision = (known.metres, 1 / known.stddev**2) if known else (0.0, 0.0)

    @property
    def length(self) -> HandLength | None:
        """The learned length; None before the first measurement."""
        if not self._precision:
            return None
        return HandLength(self._mean, max(self._precision**-0.5, LEAST_STDDEV * self._mean))

    def add(self, measured: HandLength) -> None:
        """Adds a measurement; impossible ones are ignored."""
        if not (SHORTEST < measured.metres < LONGEST and 0 < measured.stddev < np.inf):
            return
        precision = 1 / (measured.stddev**2 * _ALIKE)
        if self._precision:
            expected = np.sqrt(1 / self._precision + measured.stddev**2)
            sigmas = abs(measured.metres - self._mean) / expected
            precision *= min(1.0, _OUTLIER / max(sigmas, 1e-9)) ** 2
        total = self._precision + precision
        self._mean += (measured.metres - self._mean) * precision / total
        # What was learned long ago fades, so that another person's hand is learned too.
        self._precision = min(total, 1 / (LEAST_STDDEV * self._mean / 2) ** 2)
