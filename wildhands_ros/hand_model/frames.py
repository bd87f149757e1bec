"""Which way each joint of a posed hand is turned, and in which axes that may be said (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from ..types import ManoParameters, Side
from .joints import MANO_TO_MEDIAPIPE

TIP_PARENTS = (15, 3, 6, 12, 9)
"""Last kinematic joint of thumb, index, middle, ring and pinky, MANO order."""

_TURNING = [(*range(16), *TIP_PARENTS)[joint] for joint in MANO_TO_MEDIAPIPE]
"""The MANO joint whose rotation each of the 21 MediaPipe joints has."""

OPERATOR_BASIS = {
    Side.RIGHT: Rotation.from_matrix([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]).as_quat(),
    Side.LEFT: Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]).as_quat(),
}
"""Quaternions x, y, z, w of the operator's x (out of the palm), y and z (towards the fingertips) as columns, in each side's rest pose."""


_SIGNS = np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [1, -1, -1, 1], [1, 1, 1, 1]])
_PRODUCT = _SIGNS[..., None] * np.eye(4)[[[3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2], [0, 1, 2, 3]]]
"""Hamilton's: component k of the product of a and b (x, y, z, w) is the sum of a_i b_j ``_PRODUCT[i, j, k]``."""


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 4) quaternions x, y, z, w of the rotations ``a b``; the two are broadcast, which scipy's are not."""
    return np.einsum("...i,...j,ijk->...k", a, b, _PRODUCT)


def canonical(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) quaternions x, y, z, w of the same rotations, their w not negative."""
    return np.copysign(1, quaternions[..., 3:]) * quaternions


def joint_quaternions(manos: Sequence[ManoParameters]) -> np.ndarray:
    """(N, 21, 4) x, y, z, w of N hands: the rotation of each joint from the rest pose into the camera frame, MediaPipe order.

    A fingertip's is that of its last joint.
    """
    rotvecs = np.concatenate([part for mano in manos for part in (mano.global_orient, mano.hand_pose)])
    chains = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_quat().reshape(-1, 16, 4)
    chains[:, 1::3] = product(chains[:, :1], chains[:, 1::3])
    for level in (2, 3):
        chains[:, level::3] = product(chains[:, level - 1 : -1 : 3], chains[:, level::3])
    return chains[:, _TURNING]


def follow_chains(
    rotation: np.ndarray, position: np.ndarray, local: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Forward kinematics of five fingers on one wrist.

    Args:
        rotation, position: of the wrist, (3, 3) and (3,).
        local: (5, 3, 3, 3) rotation of each finger's joints relative to the joint before.
        offsets: (5, K, 3) at rest from the joint before to each; K is 3, or 4 with the fingertips.

    Returns:
        Rotations (5, 4, 3, 3) of the wrist and of each finger's joints, and positions (5, K, 3).
    """
    frames = np.empty((5, 4, 3, 3))
    frames[:, 0] = rotation
    for level in range(3):
        frames[:, level + 1] = frames[:, level] @ local[:, level]
    return frames, position + np.cumsum((frames[:, : offsets.shape[1]] @ offsets[..., None])[..., 0], axis=1)
