"""Where the fit starts when nothing is known from before."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from .anatomy import LIMITS
from .kinematics import HandKinematics, HandPose
from .residuals import Evidence

_PALM = [0, 1, 5, 9, 13, 17]
"""Wrist, thumb CMC and the four MCP joints: they move little against each other."""
_BLIND_STARTS = 4


def start_from_world(kinematics: HandKinematics, evidence: Evidence, world: np.ndarray) -> HandPose:
    """Turns the mean pose by Kabsch's method so that its palm lies as that of ``world`` (21, 3), and puts it at its distance."""
    pose = _mean_pose(kinematics)
    joints, _ = kinematics.joints(pose, jacobian=False)
    palm, seen = joints[_PALM] - joints[_PALM].mean(0), world[_PALM] - world[_PALM].mean(0)
    u, _, vt = np.linalg.svd(seen.T @ palm)
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return pose.with_rigid(rotation, _position(joints @ rotation.T, evidence))


def blind_starts(kinematics: HandKinematics, evidence: Evidence) -> list[HandPose]:
    """Tries the mean pose in many orientations; the best ones that differ from one another."""
    pose = _mean_pose(kinematics)
    joints, _ = kinematics.joints(pose, jacobian=False)
    poses, costs = [], []
    for rotation in _orientations():
        turned = joints @ rotation.T
        candidate = pose.with_rigid(rotation, _position(turned, evidence))
        seen = turned + candidate.position
        seen /= np.linalg.norm(seen, axis=1, keepdims=True)
        poses.append(candidate)
        costs.append(evidence.weights @ np.linalg.norm(seen - evidence.rays, axis=1))
    chosen: list[HandPose] = []
    for i in np.argsort(costs):
        if all(Rotation.from_matrix(poses[i].rotation @ other.rotation.T).magnitude() > 0.7 for other in chosen):
            chosen.append(poses[i])
        if len(chosen) == _BLIND_STARTS:
            break
    return chosen


def _mean_pose(kinematics: HandKinematics) -> HandPose:
    return HandPose(np.eye(3), np.zeros(3), LIMITS.mean.copy(), np.zeros(kinematics.num_betas))


def _position(joints: np.ndarray, evidence: Evidence) -> np.ndarray:
    """(3,) where to put joints (21, 3) so that they lie best on the rays: linear least squares, in front of the camera in any case."""
    across = np.eye(3) - evidence.rays[:, :, None] * evidence.rays[:, None]
    matrix = np.einsum("i,ijk->jk", evidence.weights, across)
    position = np.linalg.solve(matrix, -np.einsum("i,ijk,ik->j", evidence.weights, across, joints))
    depths = ((joints + position) * evidence.rays).sum(1)
    if (depths < 0.05).any():
        mean_ray = evidence.mean_ray
        spread = np.linalg.norm(evidence.rays - mean_ray, axis=1)
        size = np.linalg.norm(joints - joints.mean(0), axis=1)
        distance = (evidence.weights @ size) / (evidence.weights @ spread)
        position = mean_ray * max(distance, 0.15) - joints.mean(0)
    return position


@cache
def _orientations() -> np.ndarray:
    """(96, 3, 3): the turns of a cube, each by itself and turned by 45 degrees about three axes."""
    cube = Rotation.create_group("O")
    turns = [Rotation.identity(), *(Rotation.from_rotvec(np.radians(45) * axis) for axis in np.eye(3))]
    return np.concatenate([(turn * cube).as_matrix() for turn in turns])
