"""Hands as vectors of named numbers, for learning. A side without a hand is all zero, its ``valid`` included: learners take no NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES

SIDES = {"right": 1, "left": 2}
"""Values of ``wildhands_ros/msg/Hand.side``."""
THUMB_TIP, INDEX_TIP = 4, 8
MANO_JOINTS = tuple(
    f"{finger}_{number}" for finger in ("index", "middle", "pinky", "ring", "thumb") for number in (1, 2, 3)
)

WRIST = ("wrist.x", "wrist.y", "wrist.z", "wrist.qx", "wrist.qy", "wrist.qz", "wrist.qw")
JOINTS = tuple(f"joint.{joint}.{axis}" for joint in MEDIAPIPE_JOINT_NAMES for axis in "xyz")
MANO = (
    *(f"mano.transl.{axis}" for axis in "xyz"),
    *(f"mano.global_orient.{axis}" for axis in "xyz"),
    *(f"mano.hand_pose.{joint}.{axis}" for joint in MANO_JOINTS for axis in "xyz"),
    *(f"mano.betas.{number}" for number in range(10)),
)
HAND = ("valid", "score", *WRIST, "pinch", *JOINTS, *MANO)
STATE_NAMES = tuple(f"{side}.{name}" for side in SIDES for name in HAND)
"""Of ``state``: metres, radians, in the camera's frame."""
ACTION_NAMES = tuple(f"{side}.{name}" for side in SIDES for name in ("valid", *WRIST, "pinch"))
"""Of the default action: where wrists and pinches are in the next frame."""
ACTION_IN_STATE = np.array([STATE_NAMES.index(name) for name in ACTION_NAMES])


def state(hands: Sequence) -> np.ndarray:
    """(len(STATE_NAMES),) float32 of one HandArray's ``hands``; of two hands of a side, the surer one counts."""
    return np.concatenate([_hand(_surest(hands, value)) for value in SIDES.values()])


def _surest(hands: Sequence, side: int):
    return max(
        (hand for hand in hands if hand.side == side), key=lambda hand: np.nan_to_num(hand.score, nan=0.0), default=None
    )


def _hand(hand) -> np.ndarray:
    if hand is None:
        return np.zeros(len(HAND), np.float32)
    position, orientation = hand.wrist.pose.position, hand.wrist.pose.orientation
    joints = np.reshape(hand.joints, (21, 3))
    pinch = np.linalg.norm(joints[THUMB_TIP] - joints[INDEX_TIP])
    wrist = position.x, position.y, position.z, orientation.x, orientation.y, orientation.z, orientation.w
    mano = hand.mano
    values = np.concatenate(
        [
            [1.0, np.nan_to_num(hand.score, nan=0.0), *wrist, pinch],
            *(np.ravel(part) for part in (joints, mano.transl, mano.global_orient, mano.hand_pose, mano.betas)),
        ]
    ).astype(np.float32)
    # A hand that holds NaN says nothing: better none than half of one.
    return values if np.isfinite(values).all() else np.zeros(len(HAND), np.float32)
