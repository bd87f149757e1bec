"""Terms of the fit with their analytic derivatives, summed in normal equations.

All residuals are whitened: a residual of 1 is one standard deviation. The unknowns are those of ``kinematics``. Arrays
of several hands have further axes in front, written as "...".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from ..hand_model.joints import MEDIAPIPE_BONES
from .anatomy import LIMITS
from .kinematics import NUM_ANGLES, NUM_RIGID, HandKinematics, HandPose, turn_between

_IDENTITY = np.eye(3)
_PARENTS, _CHILDREN = np.array(MEDIAPIPE_BONES).T
_ANGLES = slice(NUM_RIGID, NUM_RIGID + NUM_ANGLES)
_BETAS = slice(NUM_RIGID + NUM_ANGLES, None)
_MEAN, _LOW, _HIGH = (a.ravel() for a in (LIMITS.mean, LIMITS.low, LIMITS.high))
_PRECISION = 1 / LIMITS.stddev.ravel() ** 2

HUBER = 2.0
"""Number of standard deviations beyond which residuals count linearly."""
DIRECTION_STDDEV = 0.3
"""Standard deviation of the detector's bone directions in radians."""
LIMIT_STDDEV = np.radians(5)
"""Standard deviation in radians by which an angle exceeds its range."""
LEAST_SLOPE = 1e-9
"""Metres per unit of the shape coefficients; it keeps the division finite for a model of one shape."""
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


class Keypoints(Protocol):
    """Keypoints as rays, see ``Evidence``."""

    @property
    def rays(self) -> np.ndarray: ...
    @property
    def bases(self) -> np.ndarray: ...
    @property
    def weights(self) -> np.ndarray: ...
    @property
    def sigma(self) -> float | np.ndarray: ...


@dataclass(frozen=True)
class Evidence:
    """Observations of one right hand in one image, or of several."""

    rays: np.ndarray
    """(..., 21, 3) unit directions to the keypoints."""
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

    @cached_property
    def bases(self) -> np.ndarray:
        """(..., 21, 2, 3) two unit vectors perpendicular to each ray."""
        return ray_bases(self.rays)


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


class Evaluated(NamedTuple):
    """Poses with their costs."""

    pose: HandPose
    normal: NormalEquations
    joints: np.ndarray
    """(..., 21, 3)"""
    jacobian: np.ndarray
    """(..., 21, 3, unknowns)"""


def reprojection(joints: np.ndarray, evidence: Keypoints) -> tuple[np.ndarray, np.ndarray]:
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


def evaluate(kinematics: HandKinematics, pose: HandPose, evidence: Evidence) -> Evaluated:
    """Evaluates poses: their agreement with the image, with ranges of motion, and with hand shapes."""
    joints, jacobian = kinematics.joints_with_jacobian(pose)
    several = joints.shape[:-2]
    residuals, d_joint = reprojection(joints, evidence)
    cost, scale = robust(residuals)
    terms = [((d_joint * scale[..., None]) @ jacobian, residuals * scale)]
    if evidence.directions is not None:
        residuals, d_bone = bone_directions(joints, evidence.directions)
        direction_cost, scale = robust(residuals)
        d_bones = jacobian[..., _CHILDREN, :, :] - jacobian[..., _PARENTS, :, :]
        terms.append(((d_bone * scale[..., None]) @ d_bones, residuals * scale))
        cost = cost + direction_cost
    rows = np.concatenate([rows.reshape(*several, -1, kinematics.num_unknowns) for rows, _ in terms], axis=-2)
    values = np.concatenate([values.reshape(*several, -1) for _, values in terms], axis=-1)
    columns = np.swapaxes(rows, -1, -2)
    normal = NormalEquations(cost, (columns @ values[..., None])[..., 0], columns @ rows)

    add_hand_priors(kinematics, normal, pose, evidence.length, evidence.length_stddev)
    return Evaluated(pose, normal, joints, jacobian)


def add_hand_priors(
    kinematics: HandKinematics,
    normal: NormalEquations,
    pose: HandPose,
    length: float | np.ndarray,
    length_stddev: float | np.ndarray,
) -> None:
    """Adds what is known of hands without an image: ranges of motion, the hand's length, and its shape.

    The shape coefficients are standard normal among hands of one length. How they vary with the length is left to the
    prior of the length, because the model's subjects need not be those whose hands are seen.

    Args:
        kinematics: Hand model.
        normal: Normal equations to which the residuals are added.
        pose: The poses.
        length: (...,) expected length from the wrist to the middle fingertip in metres.
        length_stddev: (...,) its standard deviation.
    """
    angles = pose.angles.reshape(*pose.angles.shape[:-2], NUM_ANGLES)
    unusual = angles - _MEAN
    beyond = angles - np.minimum(np.maximum(angles, _LOW), _HIGH)
    weighted = unusual * _PRECISION
    normal.cost += (unusual * weighted + beyond * beyond / LIMIT_STDDEV**2).sum(-1)
    normal.gradient[..., _ANGLES] += weighted + beyond / LIMIT_STDDEV**2
    diagonal = normal.diagonal
    diagonal[..., _ANGLES] += _PRECISION + (beyond != 0) / LIMIT_STDDEV**2
    diagonal[..., _BETAS] += 1

    own_length, gradient = kinematics.length(pose.betas)
    slope = np.sqrt((gradient * gradient).sum(-1))
    longer = gradient / np.maximum(slope, LEAST_SLOPE)[..., None]
    along = (longer * pose.betas).sum(-1)
    residual = (own_length - length) / length_stddev
    normal.cost += (pose.betas * pose.betas).sum(-1) - along * along + residual * residual
    normal.gradient[..., _BETAS] += pose.betas + longer * (slope / length_stddev * residual - along)[..., None]
    precision = np.square(slope / length_stddev) - 1
    normal.matrix[..., _BETAS, _BETAS] += precision[..., None, None] * longer[..., :, None] * longer[..., None, :]


def add_anchor(normal: NormalEquations, pose: HandPose, anchor: Anchor, ray: np.ndarray) -> None:
    """Adds the residuals of poses relative to an anchor; ``ray`` is the unit direction to the hand."""
    matrix = anchor_precision(anchor, ray)
    offset = pose_offset(pose, anchor.pose)
    gradient = (matrix @ offset[..., None])[..., 0]
    normal.cost += (offset * gradient).sum(-1)
    normal.gradient += gradient
    normal.matrix += matrix


def pose_offset(pose: HandPose, reference: HandPose) -> np.ndarray:
    """Returns the (..., unknowns) step from ``reference`` to ``pose``."""
    turn = turn_between(reference.rotation, pose.rotation)
    offset = np.empty((*turn.shape[:-1], NUM_RIGID + NUM_ANGLES + pose.betas.shape[-1]))
    offset[..., :3] = turn
    offset[..., 3:6] = pose.position - reference.position
    offset[..., _ANGLES] = (pose.angles - reference.angles).reshape(*turn.shape[:-1], NUM_ANGLES)
    offset[..., _BETAS] = pose.betas - reference.betas
    return offset


def anchor_precision(anchor: Anchor, ray: np.ndarray) -> np.ndarray:
    """Returns the (..., unknowns, unknowns) inverse covariance of the unknowns about an anchor.

    For the rotation it is exact at the anchor and good for small rotations. Depth is measured along ``ray``.
    """
    unknowns = NUM_RIGID + NUM_ANGLES + anchor.pose.betas.shape[-1]
    result = np.zeros((*ray.shape[:-1], unknowns, unknowns))
    diagonal = np.einsum("...ii->...i", result)
    rotation, lateral, depth, angles, betas = (
        1 / np.square(value)[..., None]
        for value in map(np.asarray, (anchor.rotation, anchor.lateral, anchor.depth, anchor.angles, anchor.betas))
    )
    result[..., 3:6, 3:6] = (ray[..., :, None] * ray[..., None, :]) * (depth - lateral)[..., None]
    diagonal[..., :3] = rotation
    diagonal[..., 3:6] += lateral
    diagonal[..., _ANGLES] = angles
    diagonal[..., _BETAS] = betas
    return result


def robust(residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Applies Huber's loss to the length of each row of (..., n, k) residuals.

    Returns:
        (...,) cost and (..., n, 1) factors by which the rows and their derivatives become a least-squares problem.
    """
    lengths = np.sqrt((residuals * residuals).sum(-1))
    capped = np.minimum(lengths, HUBER)
    # Up to the limit this is the squared length, beyond it HUBER * (2 * length - HUBER).
    cost = (capped * (2 * lengths - capped)).sum(-1)
    return cost, np.sqrt(HUBER / np.maximum(lengths, HUBER))[..., None]


def ray_bases(rays: np.ndarray) -> np.ndarray:
    """Returns (..., 21, 2, 3): two unit vectors perpendicular to each of (..., 21, 3) rays and to each other."""
    least = _IDENTITY[np.abs(rays).argmin(-1)]
    first = _cross(rays, least)
    first /= np.sqrt((first * first).sum(-1, keepdims=True))
    return np.stack([first, _cross(rays, first)], axis=-2)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (..., 3) cross products; faster than NumPy's for small arrays."""
    return a[..., [1, 2, 0]] * b[..., [2, 0, 1]] - a[..., [2, 0, 1]] * b[..., [1, 2, 0]]
