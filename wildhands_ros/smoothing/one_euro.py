"""The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) for points and rotations: a low-pass filter whose cutoff rises with the speed.

At rest it takes the noise away, in motion it follows. Both filters below are the paper's algorithm 1 with the difference between the
measurement and the last estimate as a tangent vector, so that a rotation is filtered on SO(3) and knows no order of axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Cutoffs:
    """How much a One-Euro filter smooths."""

    rest: float
    """Cutoff frequency at rest, Hz: lower is steadier. The paper's fc_min."""
    per_speed: float
    """What each unit of speed (metre or radian a second) adds to it, Hz: higher follows sooner. The paper's beta."""
    most: float
    """The highest cutoff, Hz; not in the paper. Fast motion then lags by 1 / (2 pi most) seconds, but its edges are taken off too."""
    speed: float = 2.0
    """Cutoff frequency of the speed itself, Hz. The paper's d_cutoff."""


@dataclass(frozen=True)
class SmoothingConfig:
    """How much hands are smoothed. The values were chosen with ``wildhands jitter`` on real video (docs/seeing.md).

    Example:
        >>> from wildhands_ros import SmoothingConfig
        >>> steadier = SmoothingConfig().with_cutoffs(rest=1.0, per_speed=25.0, most=8.0)
        >>> steadier.rotation.rest
        1.0
    """

    position: Cutoffs = Cutoffs(rest=2.0, per_speed=25.0, most=8.0)
    """Of the wrist's position."""
    rotation: Cutoffs = Cutoffs(rest=2.0, per_speed=4.0, most=4.0)
    """Of the wrist's rotation, and of each finger joint's."""
    shape: float = 1.0
    """Cutoff frequency of the shape, Hz: it is the same hand all the time."""

    def with_cutoffs(self, rest: float, per_speed: float, most: float) -> SmoothingConfig:
        """With other cutoffs of the position; the rotations' change in proportion."""
        scaled = Cutoffs(
            self.rotation.rest * rest / self.position.rest,
            self.rotation.per_speed * per_speed / self.position.per_speed,
            self.rotation.most * most / self.position.most,
        )
        return replace(self, position=Cutoffs(rest, per_speed, most), rotation=scaled)


class AdaptiveGain:
    """The part of N errors that a One-Euro filter takes over; remembers their velocities."""

    def __init__(self, cutoffs: Cutoffs, count: int):
        self._cutoffs = cutoffs
        self._velocity = np.zeros((count, 3))

    def __call__(self, errors: np.ndarray, dt: float) -> np.ndarray:
        """(N, 1) in (0, 1) for (N, 3) measurements minus last estimates, ``dt`` > 0 seconds after these."""
        self._velocity += low_pass_gain(self._cutoffs.speed, dt) * (errors / dt - self._velocity)
        speed = np.linalg.norm(self._velocity, axis=-1, keepdims=True)
        cutoff = np.minimum(self._cutoffs.rest + self._cutoffs.per_speed * speed, self._cutoffs.most)
        return low_pass_gain(cutoff, dt)


class PointFilter:
    """Filters N points, each by its own speed. The first points pass as they are."""

    def __init__(self, points: np.ndarray, cutoffs: Cutoffs):
        """:param points: (N, 3)"""
        self.value = np.array(points, np.float64)
        """(N, 3) the estimate."""
        self._gain = AdaptiveGain(cutoffs, len(self.value))

    def update(self, points: np.ndarray, dt: float) -> np.ndarray:
        """The estimate after (N, 3) new points, ``dt`` > 0 seconds after the last ones."""
        errors = points - self.value
        self.value = self.value + self._gain(errors, dt) * errors
        return self.value


class RotationFilter:
    """Filters N rotations on SO(3), each by its own angular speed. The first ones pass as they are."""

    def __init__(self, rotations: Rotation, cutoffs: Cutoffs):
        """:param rotations: N of them in one object."""
        self.value = rotations
        """The N estimates."""
        self._gain = AdaptiveGain(cutoffs, len(rotations))

    def update(self, rotations: Rotation, dt: float) -> Rotation:
        """The estimates after N new rotations, ``dt`` > 0 seconds after the last ones."""
        errors = (rotations * self.value.inv()).as_rotvec()
        self.value = Rotation.from_rotvec(self._gain(errors, dt) * errors) * self.value
        return self.value


def low_pass_gain(cutoff: float | np.ndarray, dt: float) -> float | np.ndarray:
    """What a first-order low-pass filter of ``cutoff`` Hz takes over of a change after ``dt`` seconds: the paper's alpha."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * dt))
