"""Levenberg-Marquardt on poses of hands: in NumPy, for several hands at once, or compiled, for one after the other.

Both give the same results. The compiled one (``native/fit_solver.c``) takes a twentieth of the time; where it could not
be built, because there was no C compiler, NumPy takes its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from .anatomy import LIMITS
from .batches import rows, selected, stacked
from .kinematics import HandKinematics, HandPose
from .residuals import (
    DIRECTION_STDDEV,
    HUBER,
    LIMIT_STDDEV,
    MIN_DEPTH,
    Anchor,
    Evaluated,
    Evidence,
    NormalEquations,
    anchor_precision,
    evaluate,
    pose_offset,
)

try:
    import wildhands_ros.fitting._solver as _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]  # a module that is missing

_CONVERGED = 2e-3
"""Relative decrease of the cost at which the solver stops."""


class Job(NamedTuple):
    """One run of the solver."""

    pose: HandPose
    """Where it starts."""
    evidence: Evidence
    anchor: Anchor | None
    prediction: Anchor | None


Solver = Callable[[Sequence[Job], int], list[Evaluated]]
"""Runs jobs, each with a damping of its own, until it converges or for a number of iterations.

The normal equations of the results do not include the prediction.
"""


def solver(kinematics: HandKinematics) -> Solver:
    """Returns the fastest solver that is available."""
    return NumPySolver(kinematics) if _compiled is None else CompiledSolver(kinematics)


class CompiledSolver:
    """A ``Solver`` that calls compiled code.

    Args:
        kinematics: Hand model.

    Raises:
        ImportError: The package was installed without the compiled code.
    """

    def __init__(self, kinematics: HandKinematics):
        if _compiled is None:
            raise ImportError("the fit's solver was not compiled: install a C compiler, then this package again")
        self._betas, self._unknowns = kinematics.num_betas, kinematics.num_unknowns
        n = self._unknowns
        self._ends = tuple(accumulate((0, 9, 3, 45, self._betas, 1, n, n * n, 63, 63 * n)))
        """Places in a solution where one of its arrays ends and the next one starts."""
        self._model = np.concatenate(
            [
                (HUBER, DIRECTION_STDDEV, LIMIT_STDDEV, MIN_DEPTH, _CONVERGED),
                *(angles.ravel() for angles in (LIMITS.mean, LIMITS.low, LIMITS.high, 1 / LIMITS.stddev**2)),
                *(part.ravel() for part in kinematics.constants()),
            ]
        )

    def __call__(self, jobs: Sequence[Job], iterations: int) -> list[Evaluated]:
        return [self._solve(job, iterations) for job in jobs]

    def _solve(self, job: Job, iterations: int) -> Evaluated:
        evidence, anchors = job.evidence, [anchor for anchor in (job.anchor, job.prediction) if anchor is not None]
        directions = evidence.directions
        hand = np.concatenate(
            [
                *_parts(job.pose),
                (directions is not None, len(anchors), job.anchor is not None),
                (evidence.sigma, evidence.length, evidence.length_stddev),
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
        _compiled.solve_hand(self._model, hand, self._betas, iterations, solution)
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


def _anchor_parts(anchor: Anchor) -> tuple[object, ...]:
    return (anchor.rotation, anchor.lateral, anchor.depth, anchor.angles, anchor.betas), *_parts(anchor.pose)


class NumPySolver:
    """A ``Solver`` that runs all jobs with the same terms at once.

    Args:
        kinematics: Hand model.
    """

    def __init__(self, kinematics: HandKinematics):
        self._kinematics = kinematics

    def __call__(self, jobs: Sequence[Job], iterations: int) -> list[Evaluated]:
        groups: defaultdict[tuple[bool, ...], list[int]] = defaultdict(list)
        for i, job in enumerate(jobs):
            terms = (job.evidence.directions, job.anchor, job.prediction)
            groups[tuple(term is None for term in terms)].append(i)
        found: dict[int, Evaluated] = {}
        for group in groups.values():
            found.update(zip(group, self._minimise(stacked([jobs[i] for i in group]), iterations), strict=True))
        return [found[i] for i in range(len(jobs))]

    def _minimise(self, job: Job, iterations: int) -> list[Evaluated]:
        """Runs a stack of jobs with the same terms."""

        anchors = [anchor for anchor in (job.anchor, job.prediction) if anchor is not None]
        ray, evidence = job.evidence.mean_ray, job.evidence
        priors = None
        if anchors:
            poses = stacked([anchor.pose for anchor in anchors])
            poses = HandPose(*(np.swapaxes(getattr(poses, f.name), 0, 1) for f in fields(poses)))
            priors = _Priors(poses, np.stack([anchor_precision(anchor, ray) for anchor in anchors], axis=1))
        lasting_priors = 0 if job.anchor is None else 1

        def both(pose: HandPose) -> tuple[Evaluated, NormalEquations]:
            lasting = evaluate(self._kinematics, pose, evidence)
            if priors is None:
                return lasting, lasting.normal
            one = HandPose(pose.rotation[:, None], pose.position[:, None], pose.angles[:, None], pose.betas[:, None])
            offsets = pose_offset(one, priors.poses)
            gradients = (priors.precision @ offsets[..., None])[..., 0]
            costs = (offsets * gradients).sum(-1)
            normal = lasting.normal
            for i in range(costs.shape[1]):
                if i == lasting_priors:
                    normal = normal.copy()
                normal.cost += costs[:, i]
                normal.gradient += gradients[:, i]
                normal.matrix += priors.precision[:, i]
            return lasting, normal

        found: dict[int, Evaluated] = {}
        numbers = np.arange(len(job.pose.position))
        damping = np.full(len(numbers), 1e-3)
        lasting, normal = both(job.pose)
        for _ in range(iterations):
            damped = normal.copy()
            damped.diagonal[...] *= 1 + damping[:, None]
            step = np.linalg.solve(damped.matrix, -normal.gradient[..., None])[..., 0]
            trial_lasting, trial = both(lasting.pose.moved(step))
            better = trial.cost < normal.cost
            ended = np.where(better, normal.cost - trial.cost < _CONVERGED * normal.cost, damping > 1e3)
            lasting, normal = selected(better, trial_lasting, lasting), selected(better, trial, normal)
            damping = np.where(better, damping / 5, damping * 10)
            if not ended.any():
                continue
            found |= {int(numbers[i]): rows(lasting, int(i)) for i in np.flatnonzero(ended)}
            left = np.flatnonzero(~ended)
            numbers, damping = numbers[left], damping[left]
            if not len(left):
                break
            lasting, normal = rows(lasting, left), rows(normal, left)
            evidence, priors = rows(evidence, left), rows(priors, left)
        found |= {int(number): rows(lasting, i) for i, number in enumerate(numbers)}
        return [found[i] for i in range(len(found))]


class _Priors(NamedTuple):
    """The anchors of a stack of jobs: of each job first those that last, then the prediction."""

    poses: HandPose
    """Poses of (N, anchors) hands."""
    precision: np.ndarray
    """(N, anchors, unknowns, unknowns)"""
