"""Orientations of the joints of a posed hand, and the conventions in which they are published. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry.so3 import quaternion_product, quaternions_from_matrices, quaternions_from_vectors
from ..types import ManoParameters, Side
from .joints import MANO_TO_MEDIAPIPE

TIP_PARENTS = (15, 3, 6, 12, 9)
"""Last kinematic joint of thumb, index, middle, ring and pinky, MANO order."""

_ROTATION_OF_JOINT = [(*range(16), *TIP_PARENTS)[joint] for joint in MANO_TO_MEDIAPIPE]
"""For each of the 21 MediaPipe joints, the MANO joint whose rotation it has."""

OPERATOR_BASIS = {
    Side.RIGHT: quaternions_from_matrices(np.array([(0, 0, -1), (-1, 0, 0), (0, 1, 0)])),
    Side.LEFT: quaternions_from_matrices(np.array([(0, 0, 1), (-1, 0, 0), (0, -1, 0)])),
}
"""Quaternions x, y, z, w of the operator frame in the rest pose of each side.

Its axes are the columns of the rotation matrix: x points out of the palm, z towards the fingertips.
"""


def joint_quaternions(manos: Sequence[ManoParameters]) -> np.ndarray:
    """Computes the rotation of each joint from the rest pose into the camera frame.

    Args:
        manos: Parameters of N hands.

    Returns:
        (N, 21, 4) quaternions x, y, z, w, MediaPipe order. A fingertip has the rotation of the last joint of its
        finger.
    """
    rotvecs = np.concatenate([part for mano in manos for part in (mano.global_orient, mano.hand_pose)])
    chains = quaternions_from_vectors(rotvecs.reshape(-1, 16, 3))
    chains[:, 1::3] = quaternion_product(chains[:, :1], chains[:, 1::3])
    for level in (2, 3):
        chains[:, level::3] = quaternion_product(chains[:, level - 1 : -1 : 3], chains[:, level::3])
    return chains[:, _ROTATION_OF_JOINT]


def follow_chains(
    rotation: np.ndarray, position: np.ndarray, local: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the forward kinematics of five fingers on one wrist.

    Args:
        rotation: (..., 3, 3) rotation of the wrist.
        position: (..., 3) position of the wrist.
        local: (..., 5, 3, 3, 3) rotation of each finger joint relative to its parent.
        offsets: (..., 5, K, 3) offset of each joint from its parent at rest; K is 3, or 4 with the fingertips.

    Returns:
        (..., 5, 4, 3, 3) rotations of the wrist and the joints of each finger, and (..., 5, K, 3) positions.
    """
    frames = np.empty((*rotation.shape[:-2], 5, 4, 3, 3))
    frames[..., 0, :, :] = rotation[..., None, :, :]
    for level in range(3):
        np.matmul(frames[..., level, :, :], local[..., level, :, :], out=frames[..., level + 1, :, :])
    steps = (frames[..., : offsets.shape[-2], :, :] @ offsets[..., None])[..., 0]
    return frames, position[..., None, None, :] + np.cumsum(steps, axis=-2)
