"""Orientations of the joints of a posed hand, and the conventions in which they are published. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from ..types import ManoParameters, Side
from .joints import MANO_TO_MEDIAPIPE

TIP_PARENTS = (15, 3, 6, 12, 9)
"""Last kinematic joint of thumb, index, middle, ring and pinky, MANO order."""

_ROTATION_OF_JOINT = [(*range(16), *TIP_PARENTS)[joint] for joint in MANO_TO_MEDIAPIPE]
"""For each of the 21 MediaPipe joints, the MANO joint whose rotation it has."""

OPERATOR_BASIS = {
    Side.RIGHT: Rotation.from_matrix([[0, 0, -1], [-1, 0, 0], [0, 1, 0]]).as_quat(),
    Side.LEFT: Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]).as_quat(),
}
"""Quaternions x, y, z, w of the operator frame in the rest pose of each side.

Its axes are the columns of the rotation matrix: x points out of the palm, z towards the fingertips.
"""

_SIGNS = np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [1, -1, -1, 1], [1, 1, 1, 1]])
_COMPONENTS = np.array([[3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2], [0, 1, 2, 3]])
_PRODUCT = _SIGNS[..., None] * np.eye(4)[_COMPONENTS]
"""Hamilton product: component k of the product of a and b (x, y, z, w) is the sum of a_i b_j ``_PRODUCT[i, j, k]``."""


def quaternion_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (..., 4) quaternions x, y, z, w of the rotations ``a b``.

    Unlike in SciPy, the arguments broadcast.
    """
    return np.einsum("...i,...j,ijk->...k", a, b, _PRODUCT)


def canonical_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Returns (..., 4) quaternions x, y, z, w of the same rotations with w >= 0."""
    return np.copysign(1, quaternions[..., 3:]) * quaternions


def joint_quaternions(manos: Sequence[ManoParameters]) -> np.ndarray:
    """Computes the rotation of each joint from the rest pose into the camera frame.

    Args:
        manos: Parameters of N hands.

    Returns:
        (N, 21, 4) quaternions x, y, z, w, MediaPipe order. A fingertip has the rotation of the last joint of its
        finger.
    """
    rotvecs = np.concatenate([part for mano in manos for part in (mano.global_orient, mano.hand_pose)])
    chains = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_quat().reshape(-1, 16, 4)
    chains[:, 1::3] = quaternion_product(chains[:, :1], chains[:, 1::3])
    for level in (2, 3):
        chains[:, level::3] = quaternion_product(chains[:, level - 1 : -1 : 3], chains[:, level::3])
    return chains[:, _ROTATION_OF_JOINT]


def rotation_vectors(matrices: np.ndarray) -> np.ndarray:
    """Converts (..., 3, 3) rotation matrices to (..., 3) rotation vectors of at most half a turn.

    It takes less time than SciPy, which makes the matrices orthogonal first.
    """
    m = matrices.reshape(-1, 3, 3)
    transposed = m.swapaxes(1, 2)
    # Four times the products of the components of the quaternion w, x, y, z. Its largest row is well conditioned.
    products = np.empty((len(m), 4, 4))
    products[:, 1:, 1:] = m + transposed
    products[:, 0, 1:] = products[:, 1:, 0] = (m - transposed)[:, [2, 0, 1], [1, 2, 0]]
    trace = np.einsum("nii->n", m)
    diagonal = np.einsum("nii->ni", products)
    diagonal[:, 0] = 1 + trace
    diagonal[:, 1:] += (1 - trace)[:, None]
    quaternions = products[np.arange(len(m)), diagonal.argmax(1)]
    w, axes = np.abs(quaternions[:, :1]), np.copysign(1, quaternions[:, :1]) * quaternions[:, 1:]
    sines = np.sqrt((axes * axes).sum(1, keepdims=True))
    angles = 2 * np.arctan2(sines, w)
    return (axes * (angles / np.maximum(sines, 1e-300) + 2 / np.maximum(w, 1e-300) * (sines == 0))).reshape(
        matrices.shape[:-1]
    )


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
