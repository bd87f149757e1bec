"""Initialisation of the fit without an earlier frame."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

import numpy as np

from ..geometry.so3 import matrices_from_vectors, vectors_from_matrices
from .anatomy import LIMITS
from .kinematics import HandKinematics, HandPose
from .residuals import Evidence

_PALM = [0, 1, 5, 9, 13, 17]
"""Wrist, thumb CMC and the four MCP joints, which move little relative to one another."""
_BLIND_POSES = 4


def pose_from_world(kinematics: HandKinematics, evidence: Evidence, world: np.ndarray) -> HandPose:
    """Returns the mean pose, aligned with root-relative joints.

    Args:
        kinematics: Hand model.
        evidence: Observations, which give the distance.
        world: (21, 3) root-relative joints in the camera frame; the palm is aligned with theirs by Kabsch's method.
    """
    pose = mean_pose(kinematics)
    joints = kinematics.joints(pose)
    rotation = palm_rotation(joints, world)
    return pose.with_rigid(rotation, _position(joints @ rotation.T, evidence))


def blind_poses(kinematics: HandKinematics, evidence: Evidence) -> list[HandPose]:
    """Tries the mean pose in many orientations and returns the best ones that differ from one another."""
    pose = mean_pose(kinematics)
    joints = kinematics.joints(pose)
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
        turns = [vectors_from_matrices(poses[i].rotation @ other.rotation.T) for other in chosen]
        if all(np.linalg.norm(turn) > 0.7 for turn in turns):
            chosen.append(poses[i])
        if len(chosen) == _BLIND_POSES:
            break
    return chosen


def palm_rotation(joints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Returns the (3, 3) rotation that aligns the palm of (21, 3) joints with others, by Kabsch's method."""
    palm, target = joints[_PALM] - joints[_PALM].mean(0), seen[_PALM] - seen[_PALM].mean(0)
    u, _, vt = np.linalg.svd(target.T @ palm)
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt


def mean_pose(kinematics: HandKinematics) -> HandPose:
    """Returns the mean pose and shape at the origin."""
    return HandPose(np.eye(3), np.zeros(3), LIMITS.mean.copy(), np.zeros(kinematics.num_betas))


def _position(joints: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Returns the (3,) position that moves (21, 3) joints closest to the rays.

    It is a linear least-squares solution, replaced by a rough one if joints would lie behind the camera.
    """
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
    """Returns (96, 3, 3) orientations: the rotations of a cube, as they are and rotated by 45 degrees about three
    axes."""
    axes = [np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
    cube = np.array([rotation for rotation in axes if np.linalg.det(rotation) > 0])
    turns = matrices_from_vectors(np.radians(45) * np.concatenate([np.zeros((1, 3)), np.eye(3)]))
    return np.concatenate([turn @ cube for turn in turns])
