"""The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) for points and rotations.

It is a low-pass filter whose cutoff frequency rises with the speed: it removes noise at rest and follows in motion.
Both filters below are algorithm 1 of the paper, with the difference between the measurement and the last estimate as a
tangent vector, so that rotations are filtered on SO(3) and do not depend on an order of axes.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from ..config import Cutoffs
from ..geometry.so3 import matrices_from_vectors, vectors_from_matrices

Number = TypeVar("Number", float, np.ndarray)


class AdaptiveGain:
    """Computes the share of N errors that a One-Euro filter corrects; keeps track of their velocities."""

    def __init__(self, cutoffs: Cutoffs, count: int):
        self._cutoffs = cutoffs
        self._velocity = np.zeros((count, 3))

    def __call__(self, errors: np.ndarray, dt: float) -> np.ndarray:
        """Returns the (N, 1) gains in (0, 1).

        Args:
            errors: (N, 3) measurements minus last estimates.
            dt: Seconds since the last estimates, > 0.
        """
        self._velocity += low_pass_gain(self._cutoffs.speed, dt) * (errors / dt - self._velocity)
        speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True)
        cutoff = np.minimum(self._cutoffs.rest + self._cutoffs.per_speed * speed, self._cutoffs.most)
        return low_pass_gain(cutoff, dt)


class PointFilter:
    """Filters N points, each according to its own speed. The first points pass unchanged.

    Args:
        points: (N, 3) first measurements.
        cutoffs: How much to smooth.
    """

    def __init__(self, points: np.ndarray, cutoffs: Cutoffs):
        self.value = np.array(points, np.float64)
        """(N, 3) current estimates."""
        self._gain = AdaptiveGain(cutoffs, len(self.value))

    def update(self, points: np.ndarray, dt: float) -> np.ndarray:
        """Returns the (N, 3) estimates after new measurements, ``dt`` > 0 seconds after the last ones."""
        errors = points - self.value
        self.value = self.value + self._gain(errors, dt) * errors
        return self.value


class RotationFilter:
    """Filters N rotations on SO(3), each according to its own angular speed. The first rotations pass unchanged.

    Args:
        rotations: (N, 3, 3) first measurements.
        cutoffs: How much to smooth.
    """

    def __init__(self, rotations: np.ndarray, cutoffs: Cutoffs):
        self.value = rotations
        """(N, 3, 3) current estimates."""
        self._gain = AdaptiveGain(cutoffs, len(rotations))

    def update(self, rotations: np.ndarray, dt: float) -> np.ndarray:
        """Returns the (N, 3, 3) estimates after new measurements, ``dt`` > 0 seconds after the last ones."""
        errors = vectors_from_matrices(rotations @ self.value.swapaxes(-1, -2))
        self.value = matrices_from_vectors(self._gain(errors, dt) * errors) @ self.value
        return self.value


def low_pass_gain(cutoff: Number, dt: float) -> Number:
    """Returns the share of a change that a first-order low-pass filter follows; alpha in the paper.

    Args:
        cutoff: Cutoff frequency in Hz.
        dt: Seconds since the last estimate.
    """
    return 1 / (1 + 1 / (2 * np.pi * cutoff * dt))
