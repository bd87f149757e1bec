"""Estimates to TF frames.

Every frame's parent is the image's frame. Names are ``<prefix><side>_<joint>``, for example ``right_index_mcp``; a second hand of a side
in the same image is ``right_2_index_mcp``. Every joint's frame is the same in the flat hand of the rest pose and turns with its joint from
there; a fingertip has the orientation of its last bone. In which axes, there are two choices:

MANO's basis, the axes of the rest pose: right hand with fingers along -x, palm towards -y, thumb side along +z; left hand mirrored in x.

The operator's basis: x forward, out of the palm; z towards the fingertips; y the third of a right-handed frame (towards the thumb of a
right hand, away from that of a left one). Two hands held up with their palms forward have one orientation, that of REP-103's bodies: x
forward, y left, z up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from ..detection.tracks import track_number
from ..hand_model.joints import MANO_PARENTS, MANO_TO_MEDIAPIPE, MEDIAPIPE_JOINT_NAMES
from ..structures import HandEstimate, ManoParameters, Side

TIP_PARENTS = (15, 3, 6, 12, 9)
"""Last kinematic joint of thumb, index, middle, ring and pinky, MANO order."""

ROTATION_OF_JOINT = tuple((*range(16), *TIP_PARENTS)[joint] for joint in MANO_TO_MEDIAPIPE)
"""The MANO joint whose rotation each of the 21 MediaPipe joints has."""


OPERATOR_BASIS = {
    Side.RIGHT: np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]]),
    Side.LEFT: np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
}
"""The operator's x, y and z as columns, in each side's rest pose."""


def transforms(
    hands: Iterable[HandEstimate], header: Header, prefix: str = "", joints: bool = True, operator_basis: bool = False
) -> TFMessage:
    """One message with the frames of all hands: of all 21 ``joints``, or of the wrists alone; in MANO's basis or the operator's."""
    count = 21 if joints else 1
    stamped = []
    for hand, name in hand_names(hands):
        rotations = joint_rotations(hand.mano)[list(ROTATION_OF_JOINT[:count])]
        if operator_basis:
            rotations = rotations @ OPERATOR_BASIS[hand.side]
        quaternions = Rotation.from_matrix(rotations).as_quat(canonical=True).tolist()
        for joint, (x, y, z), (qx, qy, qz, qw) in zip(MEDIAPIPE_JOINT_NAMES, hand.joints[:count].tolist(), quaternions, strict=False):
            transform = Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw))
            stamped.append(TransformStamped(header=header, child_frame_id=f"{prefix}{name}_{joint}", transform=transform))
    return TFMessage(transforms=stamped)


def hand_names(hands: Iterable[HandEstimate]) -> list[tuple[HandEstimate, str]]:
    """Each hand with a name that is its own in the image: "right", "left", "right_2", ...; of one side the longest known comes first."""
    seen: Counter = Counter()
    named = []
    for hand in sorted(hands, key=lambda hand: track_number(hand.track_id)):
        seen[hand.side] += 1
        rank = seen[hand.side]
        named.append((hand, hand.side.value if rank == 1 else f"{hand.side.value}_{rank}"))
    return named


def joint_rotations(mano: ManoParameters) -> np.ndarray:
    """(16, 3, 3) rotations of the kinematic joints from the rest pose into the camera frame, MANO order."""
    local = Rotation.from_rotvec(np.vstack([mano.global_orient, np.reshape(mano.hand_pose, (15, 3))])).as_matrix()
    rotations = local.copy()
    for joint, parent in enumerate(MANO_PARENTS[1:], start=1):
        rotations[joint] = rotations[parent] @ local[joint]
    return rotations
