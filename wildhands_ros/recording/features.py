"""Hands as vectors of named numbers, for learning.

The numbers of a side without a hand are all zero, ``valid`` included, because policies cannot be trained on NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES
from .message import Message

SIDES = {"right": 1, "left": 2}
"""Values of ``side`` in ``wildhands_ros/msg/Hand``."""
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
"""Names of the numbers of ``state``: metres and radians, in the camera frame."""
ACTION_NAMES = tuple(f"{side}.{name}" for side in SIDES for name in ("valid", *WRIST, "pinch"))
"""Names of the numbers of the default action: wrist poses and pinch distances in the next frame."""
ACTION_IN_STATE = np.array([STATE_NAMES.index(name) for name in ACTION_NAMES])
"""Indices of the default action's numbers in ``state``."""


def state(hands: Sequence[Message]) -> np.ndarray:
    """Returns the state of both hands, (len(STATE_NAMES),) float32.

    Args:
        hands: ``hands`` of a HandArray message. Of two hands of one side, the one with the higher score is used.
    """
    return np.concatenate([_hand_vector(_best(hands, value)) for value in SIDES.values()])


def _best(hands: Sequence[Message], side: int) -> Message:
    return max(
        (hand for hand in hands if hand.side == side), key=lambda hand: np.nan_to_num(hand.score, nan=0.0), default=None
    )


def _hand_vector(hand: Message) -> np.ndarray:
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
    # A hand with NaN in some of its numbers is treated as missing.
    return values if np.isfinite(values).all() else np.zeros(len(HAND), np.float32)
