"""Levenberg-Marquardt on poses of hands: in NumPy, for several hands at once, or compiled, for one after the other.

Both give the same results. The compiled one (``native/fit_solver.c``) takes a twentieth of the time; where it could not
be built, because there was no C compiler, NumPy takes its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from types import ModuleType

import numpy as np

from .anatomy import LIMITS
from .batches import stacked
from .kinematics import HandKinematics, HandPose
from .levenberg_marquardt import CONVERGED, Job, minimise
from .residuals import (
    DIRECTION_STDDEV,
    HUBER,
    LIMIT_STDDEV,
    MIN_DEPTH,
    Anchor,
    Evaluated,
    Evidence,
    NormalEquations,
    evaluate,
)

_native: ModuleType | None
try:
    import wildhands_ros._native as _compiled
except ImportError:
    _native = None
else:
    _native = _compiled

Solver = Callable[[Sequence[Job[Evidence]], int], list[Evaluated]]
"""Runs jobs, each with a damping of its own, until it converges or for a number of iterations.

The normal equations of the results do not include the prediction.
"""


def solver(kinematics: HandKinematics) -> Solver:
    """Returns the fastest solver that is available."""
    return NumPySolver(kinematics) if _native is None else CompiledSolver(kinematics)


class CompiledSolver:
    """A ``Solver`` that calls compiled code.

    Args:
        kinematics: Hand model.

    Raises:
        ImportError: The package was installed without the compiled code.
    """

    def __init__(self, kinematics: HandKinematics):
        if _native is None:
            raise ImportError("the fit's solver was not compiled: install a C compiler, then this package again")
        self._solve_hand = _native.solve_hand
        self._betas, self._unknowns = kinematics.num_betas, kinematics.num_unknowns
        n = self._unknowns
        self._ends = tuple(accumulate((0, 9, 3, 45, self._betas, 1, n, n * n, 63, 63 * n)))
        """Places in a solution where one of its arrays ends and the next one starts."""
        self._model = np.concatenate(
            [
                (HUBER, DIRECTION_STDDEV, LIMIT_STDDEV, MIN_DEPTH, CONVERGED),
                *(angles.ravel() for angles in (LIMITS.mean, LIMITS.low, LIMITS.high, 1 / LIMITS.stddev**2)),
                *(part.ravel() for part in kinematics.constants()),
            ]
        )

    def __call__(self, jobs: Sequence[Job[Evidence]], iterations: int) -> list[Evaluated]:
        return [self._solve(job, iterations) for job in jobs]

    def _solve(self, job: Job[Evidence], iterations: int) -> Evaluated:
        evidence, anchors = job.evidence, [anchor for anchor in (job.anchor, job.prediction) if anchor is not None]
        directions = evidence.directions
        hand = np.concatenate(
            [
                *_parts(job.pose),
                _numbers(directions is not None, len(anchors), job.anchor is not None),
                _numbers(evidence.sigma, evidence.length, evidence.length_stddev),
                evidence.mean_ray,
                evidence.rays.ravel(),
                evidence.bases.ravel(),
                evidence.weights,
                np.zeros(60) if directions is None else directions.ravel(),
                *(part for anchor in anchors for part in _anchor_parts(anchor)),
            ],
            dtype=np.float64,
        )
        n, solution = self._unknowns, np.empty(self._ends[-1])
        self._solve_hand(self._model, hand, self._betas, iterations, solution)
        rotation, position, angles, betas, cost, gradient, matrix, joints, jacobian = (
            solution[start:end] for start, end in pairwise(self._ends)
        )
        return Evaluated(
            HandPose(rotation.reshape(3, 3), position, angles.reshape(15, 3), betas),
            NormalEquations(cost[0], gradient, matrix.reshape(n, n)),
            joints.reshape(21, 3),
            jacobian.reshape(21, 3, n),
        )


def _parts(pose: HandPose) -> tuple[np.ndarray, ...]:
    return pose.rotation.ravel(), pose.position, pose.angles.ravel(), pose.betas


def _anchor_parts(anchor: Anchor) -> tuple[np.ndarray, ...]:
    stddevs = _numbers(anchor.rotation, anchor.lateral, anchor.depth, anchor.angles, anchor.betas)
    return stddevs, *_parts(anchor.pose)


def _numbers(*values: float | np.ndarray) -> np.ndarray:
    return np.array(values, dtype=np.float64)


class NumPySolver:
    """A ``Solver`` that runs all jobs with the same terms at once.

    Args:
        kinematics: Hand model.
    """

    def __init__(self, kinematics: HandKinematics):
        self._kinematics = kinematics

    def __call__(self, jobs: Sequence[Job[Evidence]], iterations: int) -> list[Evaluated]:
        groups: defaultdict[tuple[bool, ...], list[int]] = defaultdict(list)
        for i, job in enumerate(jobs):
            terms = (job.evidence.directions, job.anchor, job.prediction)
            groups[tuple(term is None for term in terms)].append(i)
        found: dict[int, Evaluated] = {}
        for group in groups.values():
            found.update(
                zip(group, minimise(self._evaluate, stacked([jobs[i] for i in group]), iterations), strict=True)
            )
        return [found[i] for i in range(len(jobs))]

    def _evaluate(self, pose: HandPose, evidence: Evidence) -> Evaluated:
        return evaluate(self._kinematics, pose, evidence)
