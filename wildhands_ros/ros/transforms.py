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

from collections.abc import Iterable

from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from ..detection.tracks import hand_names
from ..hand_model.frames import OPERATOR_BASIS, ROTATION_OF_JOINT, joint_rotations
from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES
from ..structures import HandEstimate


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
