"""Terms of the fit to several views, with their analytic derivatives; see ``residuals``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .keypoint_marks import marks_matrix
from .kinematics import HandKinematics, HandPose
from .residuals import Evaluated, NormalEquations, add_hand_priors, ray_bases, reprojection, robust

_KEYPOINTS = marks_matrix()


@dataclass(frozen=True)
class MultiviewEvidence:
    """Observations of one right hand by V cameras, or of several hands by as many cameras each."""

    rays: np.ndarray
    """(..., V, 21, 3) unit directions to the keypoints."""
    weights: np.ndarray
    """(..., V, 21) weights; 0 for keypoints that are not known."""
    sigma: np.ndarray
    """(..., V) standard deviations of the rays in radians."""
    origins: np.ndarray
    """(..., V, 3) positions of the cameras."""
    mean_ray: np.ndarray
    """(..., 3) any unit vector: anchors do not distinguish depth here."""
    length: np.ndarray
    """(...,) expected length from the wrist to the middle fingertip in metres."""
    length_stddev: np.ndarray
    """(...,) standard deviation of the length in metres."""

    @cached_property
    def bases(self) -> np.ndarray:
        """(..., V, 21, 2, 3) two unit vectors perpendicular to each ray."""
        return ray_bases(self.rays)


def evaluate_views(kinematics: HandKinematics, pose: HandPose, evidence: MultiviewEvidence) -> Evaluated:
    """Evaluates poses: their agreement with all views, with ranges of motion, and with hand shapes.

    What the views say about a joint is summed before it is carried over to the unknowns, so that the time hardly
    depends on the number of views.
    """
    joints, jacobian = kinematics.joints_with_jacobian(pose)
    several = joints.shape[:-2]
    relative = (_KEYPOINTS @ joints)[..., None, :, :] - evidence.origins[..., None, :]
    residuals, d_keypoint = reprojection(relative, evidence)
    costs, scale = robust(residuals)
    d_keypoints = (_KEYPOINTS @ jacobian.reshape(*several, 21, -1)).reshape(jacobian.shape)
    gradient, matrix = _summed(residuals * scale, d_keypoint * scale[..., None], d_keypoints)

    normal = NormalEquations(costs.sum(-1).reshape(several), gradient, matrix)
    add_hand_priors(kinematics, normal, pose, evidence.length, evidence.length_stddev)
    return Evaluated(pose, normal, joints, jacobian)


def _summed(residuals: np.ndarray, d_points: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums the (..., V, n, k) residuals of points over the views.

    Args:
        residuals: The residuals.
        d_points: Their (..., V, n, k, 3) derivatives with respect to the points.
        jacobian: (..., n, 3, unknowns) derivatives of the points.

    Returns:
        (..., unknowns) gradient and (..., unknowns, unknowns) Gauss-Newton matrix.
    """
    information = (np.swapaxes(d_points, -1, -2) @ d_points).sum(-4)
    pull = (np.swapaxes(d_points, -1, -2) @ residuals[..., None]).sum(-4)
    *several, _, _, unknowns = jacobian.shape
    rows = jacobian.reshape(*several, -1, unknowns)
    columns = np.swapaxes(rows, -1, -2)
    return (columns @ pull.reshape(*several, -1, 1))[..., 0], columns @ (information @ jacobian).reshape(rows.shape)
