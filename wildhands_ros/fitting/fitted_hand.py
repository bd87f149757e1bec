"""A posed right hand with the covariance of its unknowns, as the hand of its side that is reported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.so3 import vectors_from_matrices
from ..types import ManoParameters, Side
from .kinematics import NUM_ANGLES, HandKinematics, HandPose

_POSITION_FIRST = [3, 4, 5, 0, 1, 2]


@dataclass(frozen=True)
class FittedHand:
    """Metres and radians in the frame of the fit, joints in MediaPipe order."""

    mano: ManoParameters
    joints: np.ndarray
    """(21, 3)"""
    joints_stddev: np.ndarray
    """(21, 3) standard deviation of each coordinate."""
    wrist_position: np.ndarray
    """(3,)"""
    wrist_rotation: np.ndarray
    """(3, 3) rotation of the hand model's rest frame."""
    wrist_covariance: np.ndarray
    """(6, 6) covariance of x, y, z and of the rotation about the fixed axes."""


def mirror_of(side: Side) -> np.ndarray:
    """Returns the (3,) factors that turn a hand of this side into a right one and back."""
    return np.array([-1.0 if side is Side.LEFT else 1.0, 1, 1])


def fitted_hand(
    kinematics: HandKinematics,
    pose: HandPose,
    joints: np.ndarray,
    jacobian: np.ndarray,
    covariance: np.ndarray,
    side: Side,
) -> FittedHand:
    """Returns what is reported of a fit.

    Args:
        kinematics: Kinematics of the right hand, or of the mirrored left one.
        pose: Its pose.
        joints: (21, 3) its joints.
        jacobian: (21, 3, unknowns) their derivatives.
        covariance: (unknowns, unknowns)
        side: Side of the hand.
    """
    mirror = mirror_of(side)
    turn = np.array([1.0, mirror[0], mirror[0]])  # the effect of mirroring on an axis-angle vector
    signs = np.concatenate([mirror, turn])
    rows = jacobian.reshape(63, -1)
    variance = ((rows @ covariance) * rows).sum(1).reshape(21, 3)
    rotation = pose.rotation * np.outer(mirror, mirror)
    mano = ManoParameters(
        transl=(pose.position - kinematics.wrist_at_rest(pose.betas)) * mirror,
        global_orient=vectors_from_matrices(rotation),
        hand_pose=(kinematics.hand_pose(pose.angles).reshape(15, 3) * turn).reshape(NUM_ANGLES),
        betas=pose.betas.copy(),
    )
    return FittedHand(
        mano=mano,
        joints=joints * mirror,
        joints_stddev=np.sqrt(variance),
        wrist_position=pose.position * mirror,
        wrist_rotation=rotation,
        wrist_covariance=covariance[np.ix_(_POSITION_FIRST, _POSITION_FIRST)] * np.outer(signs, signs),
    )
