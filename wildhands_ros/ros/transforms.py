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

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from ..hand_model.frames import OPERATOR_BASIS, canonical_quaternions, joint_quaternions, quaternion_product
from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES
from ..tracking.tracks import hand_names
from ..types import HandEstimate
from .template import SENTINEL, STAMP_SENTINEL, Template


class TransformBuilder:
    """Builds one serialised TFMessage a frame. From a template, since 42 transforms as objects take over a millisecond."""

    def __init__(self):
        self._templates: dict[tuple, tuple[Template, np.ndarray]] = {}

    def build(
        self,
        hands: Sequence[HandEstimate],
        header: Header,
        prefix: str = "",
        joints: bool = True,
        operator_basis: bool = False,
    ) -> bytes:
        """The CDR form of the TFMessage, for ``publisher.publish``.

        Args:
            hands: of one image, at least one.
            header: the image's.
            prefix: put before all names.
            joints: the frames of all 21 joints, or of the wrists alone.
            operator_basis: in the operator's basis instead of MANO's.
        """
        named, count = hand_names(hands), 21 if joints else 1
        key = (tuple(name for _, name in named), header.frame_id, prefix, count)
        if key not in self._templates:
            if len(self._templates) >= 32:
                self._templates.clear()
            template = Template(_message(*key))
            self._templates[key] = template, template.places(np.array([SENTINEL] * 7))
        template, places = self._templates[key]
        template.write(places, _poses([hand for hand, _ in named], count, operator_basis).reshape(-1, 7))
        return template.stamped(header.stamp)


def _message(names: Sequence[str], frame_id: str, prefix: str, count: int) -> TFMessage:
    header = Header(stamp=STAMP_SENTINEL, frame_id=frame_id)
    marked = Transform(
        translation=Vector3(x=SENTINEL, y=SENTINEL, z=SENTINEL),
        rotation=Quaternion(x=SENTINEL, y=SENTINEL, z=SENTINEL, w=SENTINEL),
    )
    frames = [f"{prefix}{name}_{joint}" for name in names for joint in MEDIAPIPE_JOINT_NAMES[:count]]
    return TFMessage(
        transforms=[TransformStamped(header=header, child_frame_id=frame, transform=marked) for frame in frames]
    )


def _poses(hands: Sequence[HandEstimate], count: int, operator_basis: bool) -> np.ndarray:
    """(len(hands), count, 7): position in metres, and quaternion x, y, z, w (not negative), of each hand's first joints."""
    rotations = joint_quaternions([hand.mano for hand in hands])[:, :count]
    if operator_basis:
        rotations = quaternion_product(rotations, np.stack([OPERATOR_BASIS[hand.side] for hand in hands])[:, None])
    positions = np.stack([hand.joints[:count] for hand in hands])
    return np.concatenate([positions, canonical_quaternions(rotations)], axis=-1, dtype=np.float64)
