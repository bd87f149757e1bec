"""Terms of the fit with their analytic derivatives, summed in normal equations.

All residuals are whitened: a residual of 1 is one standard deviation. The unknowns are those of ``kinematics``. Arrays
of several hands have further axes in front, written as "...".
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
"""Number of standard deviations beyond which residuals count linearly."""
DIRECTION_STDDEV = 0.3
"""Standard deviation of the detector's bone directions in radians."""
LIMIT_STDDEV = np.radians(5)
"""Standard deviation in radians by which an angle exceeds its range."""
MIN_DEPTH = 0.01
"""Minimum depth along a ray in metres; it keeps trial steps through the camera finite."""


@dataclass(frozen=True)
class Anchor:
    """A pose near which the result should stay: the prediction from the last frame, or the result of another
    estimator. Standard deviations are numbers, or arrays (...,) if they differ between hands."""

    pose: HandPose
    rotation: float | np.ndarray
    """Standard deviation in radians."""
    lateral: float | np.ndarray
    """Standard deviation perpendicular to the viewing ray in metres."""
    depth: float | np.ndarray
    """Standard deviation along the viewing ray in metres."""
    angles: float | np.ndarray
    """Standard deviation in radians."""
    betas: float | np.ndarray
    """Standard deviation of each shape coefficient."""


@dataclass(frozen=True)
class Evidence:
    """Observations of one right hand in one image, or of several."""

    rays: np.ndarray
    """(..., 21, 3) unit directions to the keypoints."""
    bases: np.ndarray
    """(..., 21, 2, 3) two unit vectors perpendicular to each ray."""
    weights: np.ndarray
    """(..., 21) weights; 0 for keypoints that are not known."""
    mean_ray: np.ndarray
    """(..., 3) unit direction to the hand."""
    sigma: float | np.ndarray
    """(...,) standard deviation of the rays in radians."""
    directions: np.ndarray | None
    """(..., 20, 3) unit bone directions in the camera frame; None if they are not known."""
    length: float | np.ndarray
    """(...,) expected length from the wrist to the middle fingertip in metres."""
    length_stddev: float | np.ndarray
    """(...,) standard deviation of the length in metres."""


@dataclass
class NormalEquations:
    """Sum of squared residuals (Huber's loss for robust terms) with its gradient and Gauss-Newton matrix."""

    cost: np.ndarray
    """(...,)"""
    gradient: np.ndarray
    """(..., unknowns)"""
    matrix: np.ndarray
    """(..., unknowns, unknowns)"""

    @classmethod
    def zero(cls, *shape: int) -> NormalEquations:
        """Returns empty sums of this shape, of which the last number is that of the unknowns."""
        return cls(np.zeros(shape[:-1]), np.zeros(shape), np.zeros((*shape, shape[-1])))

    def copy(self) -> NormalEquations:
        """Returns an independent copy."""
        return NormalEquations(self.cost.copy(), self.gradient.copy(), self.matrix.copy())

    @property
    def diagonal(self) -> np.ndarray:
        """(..., unknowns) diagonal of the matrix, which changes with it."""
        return np.einsum("...ii->...i", self.matrix)

    def add_diagonal(self, unknowns: slice, residuals: np.ndarray, derivatives: np.ndarray | float) -> None:
        """Adds (..., n) residuals, each of which depends on one unknown."""
        self.cost += (residuals * residuals).sum(-1)
        self.gradient[..., unknowns] += derivatives * residuals
        self.diagonal[..., unknowns] += np.square(derivatives)


class Evaluated(NamedTuple):
    """Poses with their costs."""

    pose: HandPose
    normal: NormalEquations
    joints: np.ndarray
    """(..., 21, 3)"""
    jacobian: np.ndarray
    """(..., 21, 3, unknowns)"""


def reprojection(joints: np.ndarray, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Returns the reprojection residuals.

    They are the coordinates of each joint in the plane perpendicular to its keypoint's ray at unit distance. With one
    plane per ray, they do not depend on the lens or on the viewing direction.

    Returns:
        (..., 21, 2) residuals and their (..., 21, 2, 3) derivatives with respect to the joint.
    """
    depth = np.maximum((evidence.rays * joints).sum(-1), MIN_DEPTH)
    across = (evidence.bases @ joints[..., None])[..., 0] / depth[..., None]
    whitening = np.sqrt(evidence.weights) / np.asarray(evidence.sigma)[..., None]
    across_rays = across[..., None] * evidence.rays[..., None, :]
    d_joint = (evidence.bases - across_rays) * (whitening / depth)[..., None, None]
    return across * whitening[..., None], d_joint


def bone_directions(joints: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (..., 20, 3) differences of the bones' directions and their (..., 20, 3, 3) derivatives with respect
    to the bone."""
    bones = joints[..., _CHILDREN, :] - joints[..., _PARENTS, :]
    lengths = np.sqrt((bones * bones).sum(-1))[..., None]
    unit = bones / lengths
    # The projection (I - u u^T) accounts for the change of the length; without it the hand shrinks.
    d_bone = (_IDENTITY - unit[..., :, None] * unit[..., None, :]) / (lengths * DIRECTION_STDDEV)[..., None]
    return (unit - directions) / DIRECTION_STDDEV, d_bone


def rigid_offset(pose: HandPose, anchor: Anchor, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (..., 6) residuals of rotation and position relative to an anchor and their (..., 6, 6) derivatives.

    ``ray`` is the unit direction to the hand; the position's residuals are perpendicular to it and along it.
    """
    turn = turn_between(anchor.pose.rotation, pose.rotation)
    per_radian = 1 / np.asarray(anchor.rotation)[..., None]
    lateral, depth = (1 / np.asarray(value)[..., None, None] for value in (anchor.lateral, anchor.depth))
    whitening = _IDENTITY * lateral + (ray[..., :, None] * ray[..., None, :]) * (depth - lateral)
    residuals, derivative = np.empty((*turn.shape[:-1], 6)), np.zeros((*turn.shape[:-1], 6, 6))
    residuals[..., :3] = turn * per_radian
    residuals[..., 3:] = (whitening @ (pose.position - anchor.pose.position)[..., None])[..., 0]
    derivative[..., :3, :3] = _IDENTITY * per_radian[..., None]  # exact at the anchor and good for small rotations
    derivative[..., 3:, 3:] = whitening
    return residuals, derivative


def evaluate(kinematics: HandKinematics, pose: HandPose, evidence: Evidence) -> Evaluated:
    """Evaluates poses: their agreement with the image, with ranges of motion, and with hand shapes."""
    joints, jacobian = kinematics.joints_with_jacobian(pose)
    several = joints.shape[:-2]
    residuals, d_joint = reprojection(joints, evidence)
    cost, scale = _robust(residuals)
    terms = [((d_joint * scale[..., None]) @ jacobian, residuals * scale)]
    if evidence.directions is not None:
        residuals, d_bone = bone_directions(joints, evidence.directions)
        direction_cost, scale = _robust(residuals)
        d_bones = jacobian[..., _CHILDREN, :, :] - jacobian[..., _PARENTS, :, :]
        terms.append(((d_bone * scale[..., None]) @ d_bones, residuals * scale))
        cost = cost + direction_cost
    rows = np.concatenate([rows.reshape(*several, -1, kinematics.num_unknowns) for rows, _ in terms], axis=-2)
    values = np.concatenate([values.reshape(*several, -1) for _, values in terms], axis=-1)
    columns = np.swapaxes(rows, -1, -2)
    normal = NormalEquations(cost, (columns @ values[..., None])[..., 0], columns @ rows)

    angles = pose.angles.reshape(*several, NUM_ANGLES)
    normal.add_diagonal(_ANGLES, (angles - _MEAN) / _STDDEV, 1 / _STDDEV)
    beyond = (angles - np.minimum(np.maximum(angles, _LOW), _HIGH)) / LIMIT_STDDEV
    normal.add_diagonal(_ANGLES, beyond, (beyond != 0) / LIMIT_STDDEV)

    normal.add_diagonal(_BETAS, pose.betas, 1.0)
    length, gradient = kinematics.length(pose.betas)
    gradient = gradient / np.asarray(evidence.length_stddev)[..., None]
    residual = (length - evidence.length) / evidence.length_stddev
    normal.cost += residual * residual
    normal.gradient[..., _BETAS] += gradient * residual[..., None]
    normal.matrix[..., _BETAS, _BETAS] += gradient[..., :, None] * gradient[..., None, :]
    return Evaluated(pose, normal, joints, jacobian)


def add_anchor(normal: NormalEquations, pose: HandPose, anchor: Anchor, ray: np.ndarray) -> None:
    """Adds the residuals of poses relative to an anchor; ``ray`` is the unit direction to the hand."""
    residuals, derivative = rigid_offset(pose, anchor, ray)
    columns = np.swapaxes(derivative, -1, -2)
    normal.cost += (residuals * residuals).sum(-1)
    normal.gradient[..., :NUM_RIGID] += (columns @ residuals[..., None])[..., 0]
    normal.matrix[..., :NUM_RIGID, :NUM_RIGID] += columns @ derivative
    per_angle, per_beta = (1 / np.asarray(value)[..., None] for value in (anchor.angles, anchor.betas))
    angles = (pose.angles - anchor.pose.angles).reshape(*residuals.shape[:-1], NUM_ANGLES)
    normal.add_diagonal(_ANGLES, angles * per_angle, per_angle)
    normal.add_diagonal(_BETAS, (pose.betas - anchor.pose.betas) * per_beta, per_beta)


def _robust(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Applies Huber's loss to the length of each row of (..., n, k) residuals.

    Returns:
        (...,) cost and (..., n, 1) factors by which the rows and their derivatives become a least-squares problem.
    """
    lengths = np.sqrt((residuals * residuals).sum(-1))
    capped = np.minimum(lengths, HUBER)
    # Up to the limit this is the squared length, beyond it HUBER * (2 * length - HUBER).
    cost = (capped * (2 * lengths - capped)).sum(-1)
    return cost, np.sqrt(HUBER / np.maximum(lengths, HUBER))[..., None]
