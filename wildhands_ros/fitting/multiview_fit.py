"""Fits one hand model to the keypoints of several calibrated cameras, all in one common frame.

From two views the position follows from the rays alone, so that the hand's length is free. Errors of keypoints are not
independent: see ``VIEW_STDDEV`` and ``KEYPOINT_FACTOR``, which make the covariance what errors are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ..geometry.so3 import matrices_from_vectors
from ..hand_model.asset import HandAsset
from ..types import HandLength, ManoParameters, Side
from .fitted_hand import FittedHand, fitted_hand, mirror_of, resized
from .hand_length import ADULTS
from .initialisation import mean_pose, palm_rotation
from .keypoint_fit import KEYPOINT_STDDEV, FitState, keypoint_sigma, predicted, velocity_between
from .kinematics import HandKinematics, HandPose
from .levenberg_marquardt import Job
from .multiview_residuals import MultiviewEvidence
from .residuals import Evaluated
from .solver import Solver, views_solver
from .summary import summarised

VIEW_STDDEV = 0.003
"""Standard deviation in metres of the error that all keypoints of a view have in common."""
KEYPOINT_FACTOR = 1.55
"""Standard deviation of keypoints over that of independent errors, for the covariance."""
_SURE = 3.0
"""Log-odds of the side above which only that side is fitted."""
_COLD_ITERATIONS, _WARM_ITERATIONS = 12, 3
LENGTH_BIAS = 1.005
"""True length of hands over that of their fits, for keypoints of a hand lie a little too near to each other. Fitted,
like ``_LENGTH_BIAS_OF_COST``, to eight persons of the split val of the synthetic rigs."""
_LENGTH_BIAS_OF_COST = 0.027
"""Increase of that ratio for each ``_USUAL_COST``: the less keypoints agree, the smaller is the hand that fits them."""
_MOST_COSTLY = 4.0
"""Multiple of ``_USUAL_COST`` up to which the ratio increases."""
_LENGTH_FACTOR = 1.7
"""Factor of the standard deviation of the length."""
_PRIOR_LEFT = 0.01
"""Share of the length's prior that remains in the measured length, so that it exists if the views tell nothing."""
_USUAL_COST = 40.0
"""Cost for each view up to which the keypoints agree with each other."""
_DEPTH_REDUNDANCY = 10.0
"""Number of joints of a view with depth that count as one, because their errors are alike."""
_DEPTH_VARIANCE_FACTOR = 1.3
"""Calibrated variance of a hand with measured depth over that which follows."""
_MOST_DIFFERENT = 2.0
"""Number of standard deviations by which the joints of a view with depth differ from the fit to all rays, above which
they are not used."""
_SUSPICIOUS_COST = 150.0
"""Cost for each view above which a fit that continues the last one is done anew."""


@dataclass(frozen=True)
class MultiviewResult:
    """One hand fitted to several views, in the common frame."""

    side: Side
    side_score: float
    """Confidence in [0, 1] that ``side`` is correct, from all views."""
    hand: FittedHand
    length: HandLength
    """Length of the hand, as the views alone determine it: without what is known of it, and of the last fit."""
    cost: float
    misfits: np.ndarray
    """(V,) how badly each view agrees, see ``misfit``."""
    state: FitState
    """State from which the next fit of the same hand starts."""


@dataclass(frozen=True)
class HandView:
    """A hand as one camera sees it. Everything is in the common frame."""

    rays: np.ndarray
    """(21, 3) unit directions to the keypoints; NaN where unknown."""
    origin: np.ndarray
    """(3,) position of the camera."""
    side: Side
    """Side as which the camera's estimator sees the hand."""
    side_score: float
    """Confidence in [0, 1] that ``side`` is correct; NaN if unknown."""
    estimate: ManoParameters
    """The camera's own estimate."""
    joints: np.ndarray
    """(21, 3) joints of the camera's own estimate."""
    weights: np.ndarray | None = None
    """(21,) weights of the keypoints; None for ones."""
    stddev: float | None = None
    """Standard deviation of the joints in metres, if the camera measured their depth."""

    @cached_property
    def sigma(self) -> float:
        """Standard deviation of the rays in radians."""
        return keypoint_sigma(self.rays)


class MultiviewFit:
    """Fits hands of both sides.

    Args:
        assets: Hand model of each side.
    """

    def __init__(self, assets: Mapping[Side, HandAsset]):
        self._kinematics = {side: HandKinematics(assets[side].right_handed()) for side in Side}
        self._solvers: dict[Side, Solver[MultiviewEvidence]] = {
            side: views_solver(kinematics) for side, kinematics in self._kinematics.items()
        }

    def fit(
        self,
        views: Sequence[HandView],
        start: FitState | None = None,
        dt: float = 0.0,
        length: HandLength | None = None,
    ) -> MultiviewResult:
        """Fits one hand to at least two views.

        Args:
            views: The hand as each camera sees it.
            start: State of the same hand's last fit.
            dt: Seconds since then.
            length: The hand's length, if it is known; it decides little, because the views determine it too.
        """
        odds = side_log_odds(views)
        likely = Side.RIGHT if odds >= 0 else Side.LEFT
        sides = (likely,) if abs(odds) > _SURE else (likely, likely.other)
        found = {side: self._solve(views, side, start, dt, length) for side in sides}
        costs = {
            side: solution.normal.cost + (abs(odds) if side is not likely else 0) for side, solution in found.items()
        }
        side = min(sides, key=lambda side: float(costs[side]))
        if len(sides) > 1:
            odds = float(np.clip((costs[Side.LEFT] - costs[Side.RIGHT]) / 2, -_SURE, _SURE))
        return self._result(views, side, odds, found[side], start, dt, length or ADULTS)

    def resized(self, hand: FittedHand, side: Side, origin: np.ndarray, length: HandLength) -> FittedHand:
        """Returns a hand that one camera sees as large as it is known to be, and at the distance that follows.

        Args:
            hand: The hand.
            side: Its side.
            origin: (3,) position of the camera; the hand moves along the ray to its wrist.
            length: Length of the hand.
        """
        return resized(self._kinematics[side], hand, side, origin, length.metres)

    def _solve(
        self, views: Sequence[HandView], side: Side, start: FitState | None, dt: float, length: HandLength | None
    ) -> Evaluated:
        kinematics, solve = self._kinematics[side], self._solvers[side]
        evidence = _evidence(views, side, length or ADULTS)
        if start is not None and start.side is side:
            prediction = predicted(start, dt)
            prediction = replace(prediction, depth=prediction.lateral)
            (warm,) = solve([Job(prediction.pose, evidence, None, prediction)], _WARM_ITERATIONS)
            if warm.normal.cost < _SUSPICIOUS_COST * len(views):
                return warm
        jobs = [Job(pose, evidence, None, None) for pose in _initial_poses(kinematics, views, side, evidence)]
        return min(solve(jobs, _COLD_ITERATIONS), key=lambda solution: float(solution.normal.cost))

    def _result(
        self,
        views: Sequence[HandView],
        side: Side,
        odds: float,
        solution: Evaluated,
        start: FitState | None,
        dt: float,
        known: HandLength,
    ) -> MultiviewResult:
        kinematics, pose = self._kinematics[side], solution.pose
        mirror = mirror_of(side)
        start = start if start is not None and start.side is side else None
        disagreement = float(solution.normal.cost) / (_USUAL_COST * len(views))
        independent = np.linalg.inv(solution.normal.matrix)
        covariance = max(1.0, disagreement) * _covariance(independent, solution, views, mirror)
        length = _length(kinematics, solution, independent, known, disagreement)
        if any(view.stddev is not None for view in views):
            solution, covariance = _with_depth(kinematics, solution, covariance, views, mirror)
        pose = solution.pose
        return MultiviewResult(
            side=side,
            side_score=float(1 / (1 + np.exp(-abs(odds)))),
            hand=fitted_hand(kinematics, solution, summarised(kinematics, solution, covariance), side),
            length=length,
            cost=float(solution.normal.cost),
            misfits=np.array([misfit(view, solution.joints * mirror) for view in views]),
            state=FitState(
                side=side,
                pose=pose,
                velocity=velocity_between(start, pose, dt),
                frames=1 if start is None else start.frames + 1,
                hand_length=None,
            ),
        )


def side_log_odds(views: Sequence[HandView]) -> float:
    """Returns the log-odds that the views show a right hand."""
    total = 0.0
    for view in views:
        score = np.clip(0.9 if np.isnan(view.side_score) else view.side_score, 0.5, 0.99)
        total += float(np.log(score / (1 - score))) * (1 if view.side is Side.RIGHT else -1)
    return total


def misfit(view: HandView, joints: np.ndarray) -> float:
    """Returns the median angle between joints and a view's rays, as a fraction of the hand's extent in the image."""
    relative = joints - view.origin
    cosines = (relative * view.rays).sum(1) / np.sqrt((relative * relative).sum(1))
    # The median of the cosines, whose unknown ones are sorted to the end; NumPy's takes several times as long.
    cosines = np.sort(cosines)
    known = 21 - int(np.isnan(cosines).sum())
    if not known:
        return float("nan")
    median = 0.5 * (float(cosines[(known - 1) // 2]) + float(cosines[known // 2]))
    return math.acos(max(-1.0, min(1.0, median))) / (view.sigma / KEYPOINT_STDDEV)


def triangulated(views: Sequence[HandView]) -> np.ndarray:
    """Returns the (21, 3) points nearest to the rays of all views; NaN for those that fewer than two views see."""
    rays, origins = np.stack([view.rays for view in views]), np.stack([view.origin for view in views])
    known = np.isfinite(rays).all(-1)
    rays = np.where(known[..., None], rays, 0.0)
    across = (np.eye(3) - rays[..., :, None] * rays[..., None, :]) * known[..., None, None]
    matrix, target = across.sum(0), (across @ origins[:, None, :, None]).sum(0)[..., 0]
    enough = known.sum(0) > 1
    points = np.linalg.solve(matrix + 1e-9 * np.eye(3), target[..., None])[..., 0]
    return np.where(enough[:, None], points, np.nan)


def _evidence(views: Sequence[HandView], side: Side, length: HandLength) -> MultiviewEvidence:
    """Returns what the views see, mirrored for a left hand."""
    mirror = mirror_of(side)
    rays = np.stack([view.rays for view in views])
    known = np.isfinite(rays).all(-1)
    rays = np.where(known[..., None], rays * mirror, (0.0, 0, 1))
    return MultiviewEvidence(
        rays=rays,
        weights=known * np.stack([np.ones(21) if view.weights is None else view.weights for view in views]),
        sigma=np.array([view.sigma for view in views]),
        origins=np.stack([view.origin for view in views]) * mirror,
        mean_ray=np.array([0.0, 0, 1]),
        length=np.array(length.metres / LENGTH_BIAS),
        length_stddev=np.array(length.stddev),
    )


def _initial_poses(
    kinematics: HandKinematics, views: Sequence[HandView], side: Side, evidence: MultiviewEvidence
) -> list[HandPose]:
    """Returns the mean pose, aligned with the triangulated palm, and the pose of each view's own estimate."""
    mirror, pose = mirror_of(side), mean_pose(kinematics)
    poses = []
    points = triangulated(views) * mirror
    if np.isfinite(points).all():
        poses.append(replace(pose, rotation=palm_rotation(kinematics.joints(pose), points)))
    turn = np.array([1.0, mirror[0], mirror[0]])  # the effect of mirroring on an axis-angle vector
    for view in views:
        if view.side is side:
            rotation = matrices_from_vectors(view.estimate.global_orient * turn)
            angles = kinematics.angles((view.estimate.hand_pose.reshape(15, 3) * turn).reshape(45))
            poses.append(HandPose(rotation, np.zeros(3), angles, np.zeros(kinematics.num_betas)))
    if not poses:
        poses.append(replace(pose, rotation=np.eye(3)))
    return [replace(pose, position=_position(kinematics.joints(pose), evidence)) for pose in poses]


def _position(joints: np.ndarray, evidence: MultiviewEvidence) -> np.ndarray:
    """Returns the (3,) position that moves (21, 3) joints closest to the rays of all views."""
    across = np.eye(3) - evidence.rays[..., :, None] * evidence.rays[..., None, :]
    across = across * evidence.weights[..., None, None]
    offsets = evidence.origins[:, None] - joints
    return np.linalg.solve(across.sum((0, 1)), (across @ offsets[..., None]).sum((0, 1))[:, 0])


def _length(
    kinematics: HandKinematics,
    solution: Evaluated,
    covariance: np.ndarray,
    known: HandLength,
    disagreement: float,
) -> HandLength:
    """Returns the length that the views alone tell.

    The normal equations of the solution do not contain the last fit, to which the solution is near. What was known of
    the length is taken out of them: the precisions of independent sources add up, and so do the means that they are
    multiplied by.

    Args:
        kinematics: Hand model.
        solution: The solution.
        covariance: Covariance of its unknowns for independent errors.
        known: Length that the fit expects.
        disagreement: Cost of the solution as a multiple of the usual one.
    """
    own, gradient = kinematics.length(solution.pose.betas)
    of_betas = covariance[-len(gradient) :]
    precision = np.linalg.inv(of_betas[:, -len(gradient) :])
    # Everything is relative to the solution: from there to the minimum without the last fit it is a Newton step.
    information = -precision @ (of_betas @ solution.normal.gradient)
    of_prior = (1 - _PRIOR_LEFT) / known.stddev**2
    precision -= of_prior * np.outer(gradient, gradient)
    information -= of_prior * (known.metres / LENGTH_BIAS - own) * gradient
    per_length = np.linalg.solve(precision, gradient)
    bias = LENGTH_BIAS + _LENGTH_BIAS_OF_COST * min(disagreement, _MOST_COSTLY)
    variance = max(1.0, disagreement) * max(float(gradient @ per_length), 0.0)
    return HandLength(
        bias * float(own + information @ per_length), _LENGTH_FACTOR * KEYPOINT_FACTOR * float(np.sqrt(variance))
    )


def _covariance(
    independent: np.ndarray, solution: Evaluated, views: Sequence[HandView], mirror: np.ndarray
) -> np.ndarray:
    """Returns the calibrated covariance of the unknowns, given that for independent errors."""
    position = solution.pose.position
    covariance = KEYPOINT_FACTOR**2 * independent
    information = np.zeros((3, 3))
    for view in views:
        ray = position - view.origin * mirror
        ray = ray / np.linalg.norm(ray)
        information += (np.eye(3) - np.outer(ray, ray)) / VIEW_STDDEV**2
    covariance[3:6, 3:6] += np.linalg.inv(information)
    return covariance


def _with_depth(
    kinematics: HandKinematics,
    solution: Evaluated,
    covariance: np.ndarray,
    views: Sequence[HandView],
    mirror: np.ndarray,
) -> tuple[Evaluated, np.ndarray]:
    """Moves a fitted hand towards the joints of the views that have measured its depth, as far as both are sure.

    Returns:
        The solution and the covariance of its unknowns.
    """
    rows = solution.jacobian.reshape(63, -1)
    of_joints = rows @ covariance
    spread = of_joints @ rows.T
    total, precision = np.zeros(63), 0.0
    for view in views:
        if view.stddev is None:
            continue
        difference = (view.joints * mirror - solution.joints).reshape(63)
        # The sum of the variances of a joint's three coordinates, in the mean of all joints.
        expected = 3 * view.stddev**2 + np.trace(spread) / 21
        if np.median((difference.reshape(21, 3) ** 2).sum(1)) < _MOST_DIFFERENT**2 * expected:
            total += difference / view.stddev**2
            precision += 1 / view.stddev**2
    if not precision:
        return solution, covariance
    gain = np.linalg.solve(spread + _DEPTH_REDUNDANCY / precision * np.eye(63), of_joints).T
    step = gain @ (total / precision)
    covariance = _DEPTH_VARIANCE_FACTOR * (covariance - gain @ of_joints)
    pose = solution.pose.moved(step)
    return solution._replace(pose=pose, joints=kinematics.joints(pose)), covariance
