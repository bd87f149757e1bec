"""The 26 joints of OpenXR's hand tracking (XR_EXT_hand_tracking), made of the 21 joints of an estimate.

Nineteen joints are estimated joints under another name, and so are the wrist and the five tips. The metacarpals of the
four fingers and the palm lie on the lines between wrist and knuckles. The axes are OpenXR's: -z along the bone towards
the fingertip, y out of the back of the hand, and x to the right.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ..hand_model.frames import joint_quaternions
from ..types import ManoParameters, Side
from .features import SIDES
from .message import Message

_FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINTS = (
    "palm",
    "wrist",
    *(f"thumb_{bone}" for bone in ("metacarpal", "proximal", "distal", "tip")),
    *(
        f"{finger}_{bone}"
        for finger in _FINGERS[1:]
        for bone in ("metacarpal", "proximal", "intermediate", "distal", "tip")
    ),
)
"""Names in the order of XrHandJointEXT."""

ORIENTATION_VALID, POSITION_VALID, ORIENTATION_TRACKED, POSITION_TRACKED = 1, 2, 4, 8
"""XrSpaceLocationFlags. A joint is valid if there is an estimate, and tracked if it was seen as well."""

PALM, WRIST = 0, 1
_METACARPALS = tuple(JOINTS.index(f"{finger}_metacarpal") for finger in _FINGERS[1:])
_KNUCKLES = (5, 9, 13, 17)
"""MediaPipe joints at the ends of the metacarpals."""
_METACARPAL_SHARE = 0.25
"""Where a metacarpal begins, from the wrist to the knuckle."""
_SEEN = 0.5
"""Visibility from which on a joint counts as tracked."""
_BACK = np.array([0.0, 1.0, 0.0])
"""Direction out of the back of the hand in the rest frame of both sides."""
_THUMB_NAIL = np.array([0.0, 1.0, 1.0]) / np.sqrt(2)
"""Direction out of the nail of the thumb in the rest frame of both sides."""


def _sources() -> list[int]:
    """Returns for each joint the MediaPipe joint whose place or rotation it has."""
    sources = [9, 0, 1, 2, 3, 4]
    for first in _KNUCKLES:
        sources += [0, first, first + 1, first + 2, first + 3]
    return sources


SOURCES = np.array(_sources())
"""(26,) MediaPipe joint that each joint is made of; for palm and metacarpals that of its rotation or its nearest."""


def joint_positions(joints: np.ndarray) -> np.ndarray:
    """Returns the (26, 3) positions of OpenXR's joints for (21, 3) joints in MediaPipe order."""
    positions = joints[SOURCES].astype(np.float64)
    wrist, knuckles = joints[0], joints[list(_KNUCKLES)]
    positions[list(_METACARPALS)] = wrist + _METACARPAL_SHARE * (knuckles - wrist)
    positions[PALM] = (positions[JOINTS.index("middle_metacarpal")] + joints[9]) / 2
    return positions


def joint_poses(joints: np.ndarray, mano: ManoParameters, side: Side) -> np.ndarray:
    """Returns the (26, 7) poses of OpenXR's joints: position, then quaternion x, y, z, w.

    Args:
        joints: (21, 3) joints in MediaPipe order.
        mano: Parameters of the hand in the same frame.
        side: Side of the hand.
    """
    positions = joint_positions(joints)
    turns = Rotation.from_quat(joint_quaternions([mano])[0])
    ups = np.tile(_BACK, (21, 1))
    ups[1:5] = _THUMB_NAIL
    # Palm and metacarpals do not bend: they turn with the wrist.
    sources = np.where(np.isin(np.arange(len(JOINTS)), (PALM, WRIST, *_METACARPALS)), 0, SOURCES)
    up = turns.apply(ups)[sources]
    along = _bone_directions(positions)
    right = np.cross(along, up)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)
    axes = np.stack([right, np.cross(right, along), -along], axis=-1)
    return np.column_stack([positions, Rotation.from_matrix(axes).as_quat()])


def location_flags(visibility: np.ndarray, usable: bool) -> np.ndarray:
    """Returns the (26,) uint8 XrSpaceLocationFlags for the (21,) visibility of an estimate."""
    seen = np.nan_to_num(visibility)[SOURCES] >= _SEEN
    tracked = ORIENTATION_TRACKED | POSITION_TRACKED
    return ((ORIENTATION_VALID | POSITION_VALID) | np.where(seen & usable, tracked, 0)).astype(np.uint8)


def message_joints(hand: Message) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (26, 7) poses and (26,) flags of a ``wildhands_ros/msg/Hand``."""
    mano = ManoParameters.from_message(hand.mano)
    joints = np.reshape(hand.joints, (21, 3)).astype(np.float64)
    side = Side.LEFT if hand.side == SIDES["left"] else Side.RIGHT
    flags = location_flags(np.asarray(getattr(hand, "joints_visibility", np.ones(21))), getattr(hand, "usable", True))
    return joint_poses(joints, mano, side), flags


def _bone_directions(positions: np.ndarray) -> np.ndarray:
    """Returns the (26, 3) unit directions in which the bones that begin at the joints point; a tip continues."""
    towards = np.roll(positions, -1, axis=0) - positions
    middle = JOINTS.index("middle_proximal")
    towards[[PALM, WRIST]] = positions[middle] - positions[[PALM, WRIST]]
    tips = [number for number, name in enumerate(JOINTS) if name.endswith("tip")]
    towards[tips] = towards[np.array(tips) - 1]
    return towards / np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-9)
