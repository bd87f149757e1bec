"""The terms of the fit, each with its analytic derivatives, gathered into normal equations.

Every term is whitened: a residual of one is one standard deviation. The unknowns are those of ``kinematics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..hand_model.joints import MEDIAPIPE_BONES
from .anatomy import LIMITS
from .kinematics import NUM_ANGLES, NUM_RIGID, HandKinematics, HandPose, turn_between

_IDENTITY = np.eye(3)
_PARENTS, _CHILDREN = np.array(MEDIAPIPE_BONES).T
_ANGLES = slice(NUM_RIGID, NUM_RIGID + NUM_ANGLES)
_BETAS = slice(NUM_RIGID + NUM_ANGLES, None)
_MEAN, _STDDEV, _LOW, _HIGH = (a.ravel() for a in (LIMITS.mean, LIMITS.stddev, LIMITS.low, LIMITS.high))

HUBER = 2.0
"""Residuals beyond this many standard deviations count linearly."""
DIRECTION_STDDEV = 0.3
"""Of the detector's bone directions, radians."""
LIMIT_STDDEV = np.radians(5)
"""How far an angle may leave its range."""
MIN_DEPTH = 0.01
"""Metres along a ray; keeps trial steps through the camera finite."""


@dataclass(frozen=True)
class Anchor:
    """A pose that the result should stay near: the prediction from the last frame, or another estimator's result."""

    pose: HandPose
    rotation: float
    """Standard deviation in radians."""
    lateral: float
    """Standard deviation across the viewing ray in metres."""
    depth: float
    """Standard deviation along the viewing ray in metres."""
    angles: float
    """Standard deviation in radians."""
    betas: float
    """Standard deviation of each shape coefficient."""


@dataclass(frozen=True)
class Evidence:
    """What one image says about one right hand."""

    rays: np.ndarray
    """(21, 3) unit directions to the keypoints."""
    bases: np.ndarray
    """(21, 2, 3) two unit vectors across each ray."""
    weights: np.ndarray
    """(21,) zero where there is no keypoint."""
    mean_ray: np.ndarray
    """(3,) unit direction to the hand."""
    sigma: float
    """Standard deviation of a keypoint's direction in radians."""
    directions: np.ndarray | None
    """(20, 3) unit bone directions in the camera frame."""
    length: float
    """Expected wrist to middle fingertip, metres."""
    length_stddev: float
    """Metres."""


class NormalEquations:
    """Sum of squared residuals (Huber's, where robust) with its gradient and Gauss-Newton matrix."""

    def __init__(self, unknowns: int):
        self.cost = 0.0
        self.gradient = np.zeros(unknowns)
        self.matrix = np.zeros((unknowns, unknowns))

    def copy(self) -> NormalEquations:
        other = NormalEquations(0)
        other.cost, other.gradient, other.matrix = self.cost, self.gradient.copy(), self.matrix.copy()
        return other

    def add(self, residuals: np.ndarray, jacobian: np.ndarray) -> None:
        """(n,) and (n, unknowns)"""
        self.cost += residuals @ residuals
        self.gradient += jacobian.T @ residuals
        self.matrix += jacobian.T @ jacobian

    def add_robust(self, residuals: np.ndarray, jacobian: np.ndarray) -> None:
        """(n, k) and (n, k, unknowns): Huber's loss on the length of each row."""
        lengths = np.sqrt((residuals**2).sum(-1))
        scale = np.sqrt(HUBER / np.maximum(lengths, HUBER))
        self.cost += np.where(lengths > HUBER, HUBER * (2 * lengths - HUBER), lengths**2).sum()
        whitened = (jacobian * scale[:, None, None]).reshape(-1, jacobian.shape[-1])
        self.gradient += whitened.T @ (residuals * scale[:, None]).ravel()
        self.matrix += whitened.T @ whitened

    def add_diagonal(self, unknowns: slice, residuals: np.ndarray, derivatives: np.ndarray | float) -> None:
        """(n,) residuals, each of one unknown."""
        self.cost += residuals @ residuals
        self.gradient[unknowns] += derivatives * residuals
        # A view of the diagonal, in place.
        self.matrix.reshape(-1)[:: len(self.gradient) + 1][unknowns] += np.square(derivatives)


class Evaluated(NamedTuple):
    """A pose, and what speaks for and against it."""

    pose: HandPose
    normal: NormalEquations
    joints: np.ndarray
    """(21, 3)"""
    jacobian: np.ndarray
    """(21, 3, unknowns)"""


def reprojection(joints: np.ndarray, jacobian: np.ndarray, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """(21, 2) and (21, 2, unknowns): where each joint lies in the plane across its keypoint's ray, at unit distance.

    A plane of its own for each ray makes this the same for any lens and any direction of view.
    """
    depth = np.maximum((evidence.rays * joints).sum(-1), MIN_DEPTH)
    across = (evidence.bases @ joints[..., None])[..., 0] / depth[:, None]
    whitening = np.sqrt(evidence.weights) / evidence.sigma
    d_joint = (evidence.bases - across[..., None] * evidence.rays[:, None]) * (whitening / depth)[:, None, None]
    return across * whitening[:, None], d_joint @ jacobian


def bone_directions(joints: np.ndarray, jacobian: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(20, 3) and (20, 3, unknowns): difference of unit vectors along the bones."""
    bones = joints[_CHILDREN] - joints[_PARENTS]
    lengths = np.linalg.norm(bones, axis=1)
    unit = bones / lengths[:, None]
    # The length's own change belongs to it: without (I - u u^T) the hand shrinks.
    d_bone = (_IDENTITY - unit[:, :, None] * unit[:, None]) / (lengths * DIRECTION_STDDEV)[:, None, None]
    return (unit - directions) / DIRECTION_STDDEV, d_bone @ (jacobian[_CHILDREN] - jacobian[_PARENTS])


def rigid_offset(pose: HandPose, anchor: Anchor, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(6,) and (6, 6): rotation and position from the anchor's, the position across and along the viewing ray."""
    turn = turn_between(anchor.pose.rotation, pose.rotation)
    along = np.outer(ray, ray)
    whitening = (_IDENTITY - along) / anchor.lateral + along / anchor.depth
    derivative = np.zeros((6, 6))
    derivative[:3, :3] = _IDENTITY / anchor.rotation  # exact at the anchor, and good for the small turns that are left
    derivative[3:, 3:] = whitening
    return np.concatenate([turn / anchor.rotation, whitening @ (pose.position - anchor.pose.position)]), derivative


def evaluate(kinematics: HandKinematics, pose: HandPose, evidence: Evidence) -> Evaluated:
    """What the image and the knowledge of hands say about a pose."""
    joints, jacobian = kinematics.joints(pose)
    normal = NormalEquations(kinematics.num_unknowns)
    normal.add_robust(*reprojection(joints, jacobian, evidence))
    if evidence.directions is not None:
        normal.add_robust(*bone_directions(joints, jacobian, evidence.directions))

    angles = pose.angles.ravel()
    normal.add_diagonal(_ANGLES, (angles - _MEAN) / _STDDEV, 1 / _STDDEV)
    beyond = (angles - np.clip(angles, _LOW, _HIGH)) / LIMIT_STDDEV
    normal.add_diagonal(_ANGLES, beyond, np.where(beyond != 0, 1 / LIMIT_STDDEV, 0.0))

    normal.add_diagonal(_BETAS, pose.betas, 1.0)
    length, gradient = kinematics.length(pose.betas)
    row = np.zeros((1, kinematics.num_unknowns))
    row[0, _BETAS] = gradient / evidence.length_stddev
    normal.add(np.array([(length - evidence.length) / evidence.length_stddev]), row)
    return Evaluated(pose, normal, joints, jacobian)


def add_anchor(normal: NormalEquations, pose: HandPose, anchor: Anchor, ray: np.ndarray) -> None:
    """Draws the pose to an anchor; ``ray`` is the unit direction to the hand."""
    residuals, derivative = rigid_offset(pose, anchor, ray)
    normal.cost += residuals @ residuals
    normal.gradient[:NUM_RIGID] += derivative.T @ residuals
    normal.matrix[:NUM_RIGID, :NUM_RIGID] += derivative.T @ derivative
    normal.add_diagonal(_ANGLES, (pose.angles - anchor.pose.angles).ravel() / anchor.angles, 1 / anchor.angles)
    normal.add_diagonal(_BETAS, (pose.betas - anchor.pose.betas) / anchor.betas, 1 / anchor.betas)
