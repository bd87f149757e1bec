"""Levenberg-Marquardt on poses of hands: in NumPy, for several hands at once, or compiled, for one after the other.

Both give the same results. The compiled one (``native/fit_solver.c``) takes a twentieth of the time; where it could not
be built, because there was no C compiler, NumPy takes its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from ..geometry.compiled import native
from .anatomy import LIMITS
from .batches import stacked
from .keypoint_marks import marks_matrix
from .kinematics import HandKinematics, HandPose
from .levenberg_marquardt import CONVERGED, Job, minimise
from .multiview_residuals import MultiviewEvidence, evaluate_views
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

E = TypeVar("E", Evidence, MultiviewEvidence)
Solver: TypeAlias = Callable[[Sequence[Job[E]], int], list[Evaluated]]
"""Runs jobs, each with a damping of its own, until it converges or for a number of iterations.

The normal equations of the results do not include the prediction.
"""


def solver(kinematics: HandKinematics) -> Solver[Evidence]:
    """Returns the fastest solver that is available, for hands that one camera sees."""
    return NumPySolver(partial(evaluate, kinematics)) if native is None else CompiledSolver(kinematics)


def views_solver(kinematics: HandKinematics) -> Solver[MultiviewEvidence]:
    """Returns the fastest solver that is available, for hands that several cameras see."""
    return NumPySolver(partial(evaluate_views, kinematics)) if native is None else CompiledSolver(kinematics)


class CompiledSolver:
    """A ``Solver`` that calls compiled code.

    Args:
        kinematics: Hand model.

    Raises:
        ImportError: The package was installed without the compiled code.
    """

    def __init__(self, kinematics: HandKinematics):
        if native is None:
            raise ImportError("the fit's solver was not compiled: install a C compiler, then this package again")
        self._solve_hand = native.solve_hand
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

    def __call__(self, jobs: Sequence[Job[E]], iterations: int) -> list[Evaluated]:
        return [self._solve(job, iterations) for job in jobs]

    def _solve(self, job: Job[E], iterations: int) -> Evaluated:
        evidence = job.evidence
        anchors: list[Anchor] = [anchor for anchor in (job.anchor, job.prediction) if anchor is not None]
        views, directions, marks = _arrays_of(evidence)
        hand = np.concatenate(
            [
                *_parts(job.pose),
                _numbers(directions is not None, len(anchors), job.anchor is not None),
                _numbers(len(views), evidence.length, evidence.length_stddev),
                evidence.mean_ray,
                np.zeros(60) if directions is None else directions.ravel(),
                marks,
                views.ravel(),
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


def _arrays_of(evidence: Evidence | MultiviewEvidence) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Returns (V, 88) numbers of the views, the directions of the bones, and how keypoints lie to joints."""
    if isinstance(evidence, Evidence):
        numbers = (_numbers(evidence.sigma, 0, 0, 0), evidence.rays, evidence.weights)
        return np.concatenate([each.ravel() for each in numbers])[None], evidence.directions, _ON_JOINTS
    count = len(evidence.sigma)
    parts = (evidence.sigma, evidence.origins, evidence.rays, evidence.weights)
    return np.concatenate([part.reshape(count, -1) for part in parts], axis=1), None, _BETWEEN_JOINTS


def _marks(matrix: np.ndarray) -> np.ndarray:
    """Returns the joint toward which each of 21 keypoints lies off its own, and by which shares, as (42,) numbers."""
    beside = matrix - np.diag(np.diag(matrix))
    return np.concatenate([beside.argmax(1), beside.max(1)]).astype(np.float64)


_ON_JOINTS, _BETWEEN_JOINTS = _marks(np.eye(21)), _marks(marks_matrix())


def _parts(pose: HandPose) -> tuple[np.ndarray, ...]:
    return pose.rotation.ravel(), pose.position, pose.angles.ravel(), pose.betas


def _anchor_parts(anchor: Anchor) -> tuple[np.ndarray, ...]:
    stddevs = _numbers(anchor.rotation, anchor.lateral, anchor.depth, anchor.angles, anchor.betas)
    return stddevs, *_parts(anchor.pose)


def _numbers(*values: float | np.ndarray) -> np.ndarray:
    return np.array(values, dtype=np.float64)


class NumPySolver(Generic[E]):
    """A ``Solver`` that runs all jobs with the same terms at once.

    Args:
        evaluate: Evaluates a stack of poses without anchors.
    """

    def __init__(self, evaluate: Callable[[HandPose, E], Evaluated]):
        self._evaluate: Callable[[HandPose, E], Evaluated] = evaluate

    def __call__(self, jobs: Sequence[Job[E]], iterations: int) -> list[Evaluated]:
        groups: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for i, job in enumerate(jobs):
            evidence = job.evidence
            kind = evidence.directions is None if isinstance(evidence, Evidence) else len(evidence.sigma)
            groups[kind, job.anchor is None, job.prediction is None].append(i)
        found: dict[int, Evaluated] = {}
        for group in groups.values():
            found.update(
                zip(group, minimise(self._evaluate, stacked([jobs[i] for i in group]), iterations), strict=True)
            )
        return [found[i] for i in range(len(jobs))]
