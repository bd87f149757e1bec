"""What follows from a fit to keypoints: rotations of the joints, and uncertainties; in NumPy or compiled."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from ..geometry.compiled import native
from ..geometry.so3 import vectors_from_matrices
from .kinematics import NUM_RIGID, HandKinematics
from .residuals import Evaluated, Evidence


class Summary(NamedTuple):
    """What follows from one evaluated hand."""

    reprojection: float
    """Root mean square angle between joints and rays in radians."""
    orientation: np.ndarray
    """(3,) rotation vector of the wrist."""
    turns: np.ndarray
    """(15, 3) rotation vectors of the articulated joints relative to their parents, in the order of ``anatomy``."""
    variance: np.ndarray
    """(21, 3) variance of each coordinate of the joints."""
    covariance: np.ndarray
    """(6, 6) covariance of the wrist's rotation and position."""

    def shifted(self, covariance: np.ndarray) -> Summary:
        """Returns the summary with a further (3, 3) covariance of the whole hand's position."""
        total = self.covariance.copy()
        total[3:6, 3:6] += covariance
        return self._replace(variance=self.variance + np.diag(covariance), covariance=total)


Summariser: TypeAlias = Callable[[Evaluated, Evidence], Summary]


def summariser(kinematics: HandKinematics) -> Summariser:
    """Returns the fastest summariser that is available."""
    return NumPySummariser(kinematics) if native is None else CompiledSummariser(kinematics)


class NumPySummariser:
    """A ``Summariser`` in NumPy.

    Args:
        kinematics: Hand model.
    """

    def __init__(self, kinematics: HandKinematics):
        self._kinematics = kinematics

    def __call__(self, found: Evaluated, evidence: Evidence) -> Summary:
        covariance = np.linalg.inv(found.normal.matrix)
        return summarised(self._kinematics, found, covariance, _reprojection(found.joints, evidence))


def summarised(
    kinematics: HandKinematics, found: Evaluated, covariance: np.ndarray, reprojection: float = float("nan")
) -> Summary:
    """Returns the summary of a hand with an (unknowns, unknowns) covariance of its unknowns."""
    by_joint = found.jacobian.reshape(63, -1)
    return Summary(
        reprojection=reprojection,
        orientation=vectors_from_matrices(found.pose.rotation),
        turns=kinematics.turns(found.pose.angles),
        variance=((by_joint @ covariance) * by_joint).sum(-1).reshape(21, 3),
        covariance=covariance[:NUM_RIGID, :NUM_RIGID],
    )


def _reprojection(joints: np.ndarray, evidence: Evidence) -> float:
    cosines = (joints * evidence.rays).sum(-1) / np.sqrt((joints * joints).sum(-1))
    angles = np.arccos(np.clip(cosines, -1, 1))
    return float(np.sqrt(np.mean(angles[evidence.weights > 0] ** 2)))


class CompiledSummariser:
    """A ``Summariser`` that calls compiled code (``native/fit_solver.c``).

    Args:
        kinematics: Hand model.

    Raises:
        ImportError: The package was installed without the compiled code.
    """

    _ENDS = tuple(accumulate((0, 1, 3, 45, 63, 36)))
    """Places in a summary where one of its arrays ends and the next one starts."""

    def __init__(self, kinematics: HandKinematics):
        if native is None:
            raise ImportError("the fit was not compiled: install a C compiler, then this package again")
        self._summarise_hand = native.summarise_hand
        self._axes = np.ascontiguousarray(kinematics.constants()[0], np.float64)

    def __call__(self, found: Evaluated, evidence: Evidence) -> Summary:
        summary = np.empty(self._ENDS[-1])
        pose = found.pose
        arrays = (pose.rotation, pose.angles, found.joints, found.normal.matrix, found.jacobian)
        self._summarise_hand(self._axes, *map(np.ascontiguousarray, arrays), evidence.rays, evidence.weights, summary)
        reprojection, orientation, turns, variance, covariance = (
            summary[start:end] for start, end in pairwise(self._ENDS)
        )
        return Summary(
            float(reprojection[0]),
            orientation,
            turns.reshape(15, 3),
            variance.reshape(21, 3),
            covariance.reshape(NUM_RIGID, NUM_RIGID),
        )
