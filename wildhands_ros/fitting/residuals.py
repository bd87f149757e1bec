"""Terms of the fit with their analytic derivatives, summed in normal equations.

All residuals are whitened: a residual of 1 is one standard deviation. The unknowns are those of ``kinematics``.
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
    estimator."""

    pose: HandPose
    rotation: float
    """Standard deviation in radians."""
    lateral: float
    """Standard deviation perpendicular to the viewing ray in metres."""
    depth: float
    """Standard deviation along the viewing ray in metres."""
    angles: float
    """Standard deviation in radians."""
    betas: float
    """Standard deviation of each shape coefficient."""


@dataclass(frozen=True)
class Evidence:
    """Observations of one right hand in one image."""

    rays: np.ndarray
    """(21, 3) unit directions to the keypoints."""
    bases: np.ndarray
    """(21, 2, 3) two unit vectors perpendicular to each ray."""
    weights: np.ndarray
    """(21,) weights; 0 for keypoints that are not known."""
    mean_ray: np.ndarray
    """(3,) unit direction to the hand."""
    sigma: float
    """Standard deviation of the rays in radians."""
    directions: np.ndarray | None
    """(20, 3) unit bone directions in the camera frame; None if they are not known."""
    length: float
    """Expected length from the wrist to the middle fingertip in metres."""
    length_stddev: float
    """Standard deviation of the length in metres."""


class NormalEquations:
    """Sum of squared residuals (Huber's loss for robust terms) with its gradient and Gauss-Newton matrix."""

    def __init__(self, unknowns: int):
        self.cost = 0.0
        self.gradient = np.zeros(unknowns)
        self.matrix = np.zeros((unknowns, unknowns))

    def copy(self) -> NormalEquations:
        """Returns an independent copy."""
        other = NormalEquations(0)
        other.cost, other.gradient, other.matrix = self.cost, self.gradient.copy(), self.matrix.copy()
        return other

    def add(self, residuals: np.ndarray, jacobian: np.ndarray) -> None:
        """Adds (n,) residuals with their (n, unknowns) derivatives."""
        self.cost += residuals @ residuals
        self.gradient += jacobian.T @ residuals
        self.matrix += jacobian.T @ jacobian

    def add_robust(self, residuals: np.ndarray, jacobian: np.ndarray) -> None:
        """Adds Huber's loss of the length of each row of (n, k) residuals with (n, k, unknowns) derivatives."""
        lengths = np.sqrt((residuals**2).sum(-1))
        scale = np.sqrt(HUBER / np.maximum(lengths, HUBER))
        self.cost += np.where(lengths > HUBER, HUBER * (2 * lengths - HUBER), lengths**2).sum()
        whitened = (jacobian * scale[:, None, None]).reshape(-1, jacobian.shape[-1])
        self.gradient += whitened.T @ (residuals * scale[:, None]).ravel()
        self.matrix += whitened.T @ whitened

    def add_diagonal(self, unknowns: slice, residuals: np.ndarray, derivatives: np.ndarray | float) -> None:
        """Adds (n,) residuals, each of which depends on one unknown."""
        self.cost += residuals @ residuals
        self.gradient[unknowns] += derivatives * residuals
        # A view of the diagonal, which is changed in place.
        self.matrix.reshape(-1)[:: len(self.gradient) + 1][unknowns] += np.square(derivatives)


class Evaluated(NamedTuple):
    """A pose with its cost."""

    pose: HandPose
    normal: NormalEquations
    joints: np.ndarray
    """(21, 3)"""
    jacobian: np.ndarray
    """(21, 3, unknowns)"""


def reprojection(joints: np.ndarray, jacobian: np.ndarray, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Returns the reprojection residuals.

    They are the coordinates of each joint in the plane perpendicular to its keypoint's ray at unit distance. With one
    plane per ray, they do not depend on the lens or on the viewing direction.

    Returns:
        (21, 2) residuals and their (21, 2, unknowns) derivatives.
    """
    depth = np.maximum((evidence.rays * joints).sum(-1), MIN_DEPTH)
    across = (evidence.bases @ joints[..., None])[..., 0] / depth[:, None]
    whitening = np.sqrt(evidence.weights) / evidence.sigma
    d_joint = (evidence.bases - across[..., None] * evidence.rays[:, None]) * (whitening / depth)[:, None, None]
    return across * whitening[:, None], d_joint @ jacobian


def bone_directions(joints: np.ndarray, jacobian: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (20, 3) differences of the bones' directions and their (20, 3, unknowns) derivatives."""
    bones = joints[_CHILDREN] - joints[_PARENTS]
    lengths = np.linalg.norm(bones, axis=1)
    unit = bones / lengths[:, None]
    # The projection (I - u u^T) accounts for the change of the length; without it the hand shrinks.
    d_bone = (_IDENTITY - unit[:, :, None] * unit[:, None]) / (lengths * DIRECTION_STDDEV)[:, None, None]
    return (unit - directions) / DIRECTION_STDDEV, d_bone @ (jacobian[_CHILDREN] - jacobian[_PARENTS])


def rigid_offset(pose: HandPose, anchor: Anchor, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (6,) residuals of rotation and position relative to an anchor and their (6, 6) derivatives.

    ``ray`` is the unit direction to the hand; the position's residuals are perpendicular to it and along it.
    """
    turn = turn_between(anchor.pose.rotation, pose.rotation)
    along = np.outer(ray, ray)
    whitening = (_IDENTITY - along) / anchor.lateral + along / anchor.depth
    derivative = np.zeros((6, 6))
    derivative[:3, :3] = _IDENTITY / anchor.rotation  # exact at the anchor and good for small rotations
    derivative[3:, 3:] = whitening
    return np.concatenate([turn / anchor.rotation, whitening @ (pose.position - anchor.pose.position)]), derivative


def evaluate(kinematics: HandKinematics, pose: HandPose, evidence: Evidence) -> Evaluated:
    """Evaluates a pose: its agreement with the image, with ranges of motion, and with hand shapes."""
    joints, jacobian = kinematics.joints_with_jacobian(pose)
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
    """Adds the residuals of a pose relative to an anchor; ``ray`` is the unit direction to the hand."""
    residuals, derivative = rigid_offset(pose, anchor, ray)
    normal.cost += residuals @ residuals
    normal.gradient[:NUM_RIGID] += derivative.T @ residuals
    normal.matrix[:NUM_RIGID, :NUM_RIGID] += derivative.T @ derivative
    normal.add_diagonal(_ANGLES, (pose.angles - anchor.pose.angles).ravel() / anchor.angles, 1 / anchor.angles)
    normal.add_diagonal(_BETAS, (pose.betas - anchor.pose.betas) / anchor.betas, 1 / anchor.betas)
