"""A posed right hand with its uncertainty, as the hand of its side that is reported."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..types import ManoParameters, Side
from .kinematics import HandKinematics, HandPose, in_mano_order
from .residuals import LEAST_SLOPE, Evaluated
from .summary import Summary

_POSITION_FIRST = np.ix_([3, 4, 5, 0, 1, 2], [3, 4, 5, 0, 1, 2])
"""Moves the position before the rotation in a covariance of the wrist."""


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


def fitted_hand(kinematics: HandKinematics, found: Evaluated, summary: Summary, side: Side) -> FittedHand:
    """Returns what is reported of a fit.

    Args:
        kinematics: Kinematics of the right hand, or of the mirrored left one.
        found: Its pose and joints.
        summary: What follows from them.
        side: Side of the hand.
    """
    mirror, pose = mirror_of(side), found.pose
    turn = np.array([1.0, mirror[0], mirror[0]])  # the effect of mirroring on an axis-angle vector
    signs = np.concatenate([mirror, turn])
    return FittedHand(
        mano=ManoParameters(
            transl=(pose.position - kinematics.wrist_at_rest(pose.betas)) * mirror,
            global_orient=summary.orientation * turn,
            hand_pose=in_mano_order(summary.turns * turn),
            betas=pose.betas.copy(),
        ),
        joints=found.joints * mirror,
        joints_stddev=np.sqrt(summary.variance),
        wrist_position=pose.position * mirror,
        wrist_rotation=pose.rotation * np.outer(mirror, mirror),
        wrist_covariance=summary.covariance[_POSITION_FIRST] * np.outer(signs, signs),
    )


def resized(kinematics: HandKinematics, hand: FittedHand, side: Side, origin: np.ndarray, length: float) -> FittedHand:
    """Returns a hand with another length, at the distance at which a camera sees it as large as before.

    Args:
        kinematics: Kinematics of a hand of this side, mirrored for a left hand.
        hand: The hand.
        side: Its side.
        origin: (3,) position of the camera; the hand moves along the ray to its wrist.
        length: Metres.
    """
    mirror = mirror_of(side)
    turn = np.array([1.0, mirror[0], mirror[0]])  # the effect of mirroring on an axis-angle vector
    old, gradient = kinematics.length(hand.mano.betas)
    betas = hand.mano.betas + gradient * (length - old) / max(gradient @ gradient, LEAST_SLOPE**2)
    scale = float(kinematics.length(betas)[0] / old)
    position = origin + scale * (hand.wrist_position - origin)
    angles = kinematics.angles((hand.mano.hand_pose.reshape(15, 3) * turn).reshape(45))
    rotation = hand.wrist_rotation * np.outer(mirror, mirror)
    scales = np.repeat([scale, 1.0], 3)
    return replace(
        hand,
        mano=replace(hand.mano, transl=position - kinematics.wrist_at_rest(betas) * mirror, betas=betas),
        joints=kinematics.joints(HandPose(rotation, position * mirror, angles, betas)) * mirror,
        joints_stddev=scale * hand.joints_stddev,
        wrist_position=position,
        wrist_covariance=hand.wrist_covariance * np.outer(scales, scales),
    )
