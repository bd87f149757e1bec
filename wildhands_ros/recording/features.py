"""Hands as vectors of named numbers, for learning.

The numbers of a side without a hand are all zero, ``valid`` included, because policies cannot be trained on NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES
from .message import SIDE_OF_VALUE, Message

SIDES = {side.value: value for value, side in SIDE_OF_VALUE.items()}
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

QUALITY = ("usable", "state", "doubts")
QUALITY_NAMES = tuple(f"{side}.{name}" for side in SIDES for name in QUALITY)
"""Names of the numbers of ``quality``: those of the fields of ``wildhands_ros/msg/Hand``; all zero without a hand."""
VISIBILITY_NAMES = tuple(f"{side}.visibility.{joint}" for side in SIDES for joint in MEDIAPIPE_JOINT_NAMES)
"""Names of the numbers of ``visibility``: probabilities that the camera sees the joints; zero without a hand."""
CONTACT_NAMES = tuple(
    f"{side}.contact.thumb_{finger}" for side in SIDES for finger in ("index", "middle", "ring", "pinky")
)
"""Names of the numbers of ``contact``: probabilities that fingertips touch; -1 where unknown and without a hand."""
OBJECT_CONTACT_NAMES = tuple(
    f"{side}.object_contact.{finger}" for side in SIDES for finger in ("thumb", "index", "middle", "ring", "pinky")
)
"""Names of the numbers of ``object_contact``: probabilities that fingertips touch an object; -1 where unknown and
without a hand."""
CAMERA = ("camera.valid", *(f"camera.{axis}" for axis in ("x", "y", "z", "qx", "qy", "qz", "qw")))
WORLD_NAMES = (*CAMERA, *(f"{side}.{name}" for side in SIDES for name in ("valid", *WRIST, *JOINTS)))
"""Names of the numbers of ``world``: metres, in the fixed frame; all zero where the pose of the camera is unknown."""


def quality(hands: Sequence[Message]) -> np.ndarray:
    """Returns whether both hands are usable, their states and their doubts: (len(QUALITY_NAMES),) int64."""
    rows = []
    for value in SIDES.values():
        hand = best_hand(hands, value)
        rows += [0, 0, 0] if hand is None else [int(getattr(hand, name, 0)) for name in QUALITY]
    return np.array(rows, np.int64)


def visibility(hands: Sequence[Message]) -> np.ndarray:
    """Returns the visibility of the joints of both hands: (len(VISIBILITY_NAMES),) float32."""
    rows = []
    for value in SIDES.values():
        hand = best_hand(hands, value)
        rows.append(np.nan_to_num(getattr(hand, "joints_visibility", np.zeros(21))))
    return np.concatenate(rows).astype(np.float32)


def contact(hands: Sequence[Message]) -> np.ndarray:
    """Returns the contact of the fingertips of both hands: (len(CONTACT_NAMES),) float32."""
    return _of_both_hands(hands, "contact", 4)


def object_contact(hands: Sequence[Message]) -> np.ndarray:
    """Returns the contact of the fingertips of both hands with objects: (len(OBJECT_CONTACT_NAMES),) float32."""
    return _of_both_hands(hands, "object_contact", 5)


def _of_both_hands(hands: Sequence[Message], name: str, count: int) -> np.ndarray:
    """Returns a field of probabilities of both hands; -1 where it is unknown, also in bags that are older than it."""
    rows = [getattr(best_hand(hands, value), name, np.full(count, np.nan)) for value in SIDES.values()]
    return np.nan_to_num(np.concatenate(rows), nan=-1.0).astype(np.float32)


def world(hands: Sequence[Message], camera_pose: Message | None) -> np.ndarray:
    """Returns the camera and both hands in the fixed frame: (len(WORLD_NAMES),) float32.

    Args:
        hands: ``hands`` of the HandArray in the fixed frame.
        camera_pose: Pose of the camera in it; None if it is unknown.
    """
    camera = np.zeros(len(CAMERA)) if camera_pose is None else np.array([1.0, *_pose_numbers(camera_pose)])
    joints_end = 2 + len(WRIST) + 1 + len(JOINTS)
    rows = []
    for value in SIDES.values():
        vector = _hand_vector(best_hand(hands, value))
        rows.append(np.concatenate([vector[:1], vector[2 : 2 + len(WRIST)], vector[3 + len(WRIST) : joints_end]]))
    return np.concatenate([camera, *rows]).astype(np.float32)


def state(hands: Sequence[Message]) -> np.ndarray:
    """Returns the state of both hands, (len(STATE_NAMES),) float32.

    Args:
        hands: ``hands`` of a HandArray message. Of two hands of one side, the one with the higher score is used.
    """
    return np.concatenate([_hand_vector(best_hand(hands, value)) for value in SIDES.values()])


def best_hand(hands: Sequence[Message], side: int) -> Message | None:
    """Returns the hand of a side (a value of ``SIDES``) with the highest score; None if there is none."""
    return max(
        (hand for hand in hands if hand.side == side), key=lambda hand: np.nan_to_num(hand.score, nan=0.0), default=None
    )


def _pose_numbers(pose: Message) -> tuple[float, ...]:
    p, q = pose.position, pose.orientation
    return p.x, p.y, p.z, q.x, q.y, q.z, q.w


def _hand_vector(hand: Message | None) -> np.ndarray:
    if hand is None:
        return np.zeros(len(HAND), np.float32)
    joints = np.reshape(hand.joints, (21, 3))
    with np.errstate(invalid="ignore"):
        pinch = np.linalg.norm(joints[THUMB_TIP] - joints[INDEX_TIP])
    wrist = _pose_numbers(hand.wrist.pose)
    mano = hand.mano
    values = np.concatenate(
        [
            [1.0, np.nan_to_num(hand.score, nan=0.0), *wrist, pinch],
            *(np.ravel(part) for part in (joints, mano.transl, mano.global_orient, mano.hand_pose, mano.betas)),
        ]
    ).astype(np.float32)
    # A hand with NaN in some of its numbers is treated as missing.
    return values if np.isfinite(values).all() else np.zeros(len(HAND), np.float32)
