"""Levenberg-Marquardt on stacks of hands, in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from .batches import rows, selected, stacked
from .kinematics import HandPose
from .residuals import Anchor, Evaluated, NormalEquations, anchor_precision, pose_offset

CONVERGED = 2e-3
"""Relative decrease of the cost at which the solver stops."""


class SolverEvidence(Protocol):
    """What the solver reads of the observations of hands."""

    @property
    def mean_ray(self) -> np.ndarray:
        """(..., 3) unit direction to the hand, along which anchors measure depth."""
        ...


E = TypeVar("E", bound=SolverEvidence)


@dataclass(frozen=True)
class Job(Generic[E]):
    """One run of the solver, or a stack of them."""

    pose: HandPose
    evidence: E
    anchor: Anchor | None
    prediction: Anchor | None


class _Priors(NamedTuple):
    """The anchors of a stack of jobs: of each job first those that last, then the prediction."""

    poses: HandPose
    """Poses of (N, anchors) hands."""
    precision: np.ndarray
    """(N, anchors, unknowns, unknowns)"""


def minimise(evaluate: Callable[[HandPose, E], Evaluated], job: Job[E], iterations: int) -> list[Evaluated]:
    """Solves a stack of jobs, each with a damping of its own and until it converges.

    Args:
        evaluate: Evaluates a stack of poses without anchors.
        job: Stack of jobs.
        iterations: Largest number of steps.

    Returns:
        The solutions, whose normal equations do not include the prediction.
    """
    anchors = [anchor for anchor in (job.anchor, job.prediction) if anchor is not None]
    ray, evidence = job.evidence.mean_ray, job.evidence
    priors = None
    if anchors:
        poses = stacked([anchor.pose for anchor in anchors])
        poses = HandPose(*(np.swapaxes(getattr(poses, f.name), 0, 1) for f in fields(poses)))
        priors = _Priors(poses, np.stack([anchor_precision(anchor, ray) for anchor in anchors], axis=1))
    lasting_priors = 0 if job.anchor is None else 1

    def both(pose: HandPose) -> tuple[Evaluated, NormalEquations]:
        lasting = evaluate(pose, evidence)
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
        ended = np.where(better, normal.cost - trial.cost < CONVERGED * normal.cost, damping > 1e3)
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
