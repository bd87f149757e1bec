"""Which way each joint of a posed hand is turned, and in which axes that may be said (numpy only)."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ..structures import ManoParameters, Side
from .joints import MANO_PARENTS, MANO_TO_MEDIAPIPE

TIP_PARENTS = (15, 3, 6, 12, 9)
"""Last kinematic joint of thumb, index, middle, ring and pinky, MANO order."""

ROTATION_OF_JOINT = tuple((*range(16), *TIP_PARENTS)[joint] for joint in MANO_TO_MEDIAPIPE)
"""The MANO joint whose rotation each of the 21 MediaPipe joints has."""

OPERATOR_BASIS = {
    Side.RIGHT: np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]]),
    Side.LEFT: np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
}
"""The operator's x (out of the palm), y and z (towards the fingertips) as columns, in each side's rest pose."""


def joint_rotations(mano: ManoParameters) -> np.ndarray:
    """(16, 3, 3) rotations of the kinematic joints from the rest pose into the camera frame, MANO order."""
    local = Rotation.from_rotvec(np.vstack([mano.global_orient, np.reshape(mano.hand_pose, (15, 3))])).as_matrix()
    rotations = local.copy()
    for joint, parent in enumerate(MANO_PARENTS[1:], start=1):
        rotations[joint] = rotations[parent] @ local[joint]
    return rotations


def follow_chains(rotation: np.ndarray, position: np.ndarray, local: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
