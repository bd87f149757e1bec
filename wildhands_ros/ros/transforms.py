"""Converts estimates to TF frames.

The parent of each frame is the frame of the image. Names are ``<prefix><side>_<joint>``, for example
``right_index_mcp``; a second right hand in the same image is ``right_2_index_mcp``. In the flat hand of the rest pose
all frames of a hand have the same orientation, and each turns with its joint from there; a fingertip has the
orientation of its last bone. There are two choices of axes:

MANO's basis, the axes of the rest pose: right hand with fingers along -x, palm towards -y, thumb side along +z; left
hand mirrored in x.

The operator's basis: x forward, out of the palm; z towards the fingertips; y completes a right-handed frame (towards
the thumb of a right hand, away from the thumb of a left hand). Two hands held up with their palms forward have the same
orientation, the one of REP-103 for bodies: x forward, y left, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from ..geometry.so3 import canonical_quaternions, quaternion_product
from ..hand_model.frames import OPERATOR_BASIS, joint_quaternions
from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES
from ..tracking.tracks import hand_names
from ..types import HandEstimate
from .template import SENTINEL, STAMP_SENTINEL, Template

MAX_TEMPLATES = 32


@dataclass(frozen=True)
class _Layout:
    """What the layout of a message depends on."""

    names: tuple[str, ...]
    frame_id: str
    prefix: str
    joints: int


class TransformBuilder:
    """Builds a serialised TFMessage for each frame.

    It uses a template, since building 42 transforms as Python objects takes more than a millisecond.
    """

    def __init__(self) -> None:
        self._templates: dict[_Layout, _TransformTemplate] = {}

    def build(
        self,
        hands: Sequence[HandEstimate],
        header: Header,
        prefix: str = "",
        joints: bool = True,
        operator_basis: bool = False,
    ) -> bytes:
        """Returns the CDR form of the TFMessage, for ``publisher.publish``.

        Args:
            hands: hands of an image, at least one.
            header: header of the image.
            prefix: prefix of the names of the frames.
            joints: whether to include the frames of all 21 joints, or only of the wrists.
            operator_basis: whether to use the operator's basis instead of MANO's.
        """
        named, count = hand_names(hands), 21 if joints else 1
        layout = _Layout(tuple(name for _, name in named), header.frame_id, prefix, count)
        if layout not in self._templates:
            if len(self._templates) >= MAX_TEMPLATES:
                self._templates.clear()
            self._templates[layout] = _TransformTemplate(layout)
        poses = _poses([hand for hand, _ in named], count, operator_basis)
        return self._templates[layout].fill(poses.reshape(-1, 7), header)


class _TransformTemplate:
    """The serialised transforms of certain hands, and where their numbers are."""

    def __init__(self, layout: _Layout):
        self._template = Template(_message(layout))
        self._places = self._template.places(np.array([SENTINEL] * 7))

    def fill(self, poses: np.ndarray, header: Header) -> bytes:
        """Returns the message with these (N, 7) poses."""
        self._template.write(self._places, poses)
        return self._template.stamped(header.stamp)


def _message(layout: _Layout) -> TFMessage:
    header = Header(stamp=STAMP_SENTINEL, frame_id=layout.frame_id)
    marked = Transform(
        translation=Vector3(x=SENTINEL, y=SENTINEL, z=SENTINEL),
        rotation=Quaternion(x=SENTINEL, y=SENTINEL, z=SENTINEL, w=SENTINEL),
    )
    joints = MEDIAPIPE_JOINT_NAMES[: layout.joints]
    frames = [f"{layout.prefix}{name}_{joint}" for name in layout.names for joint in joints]
    return TFMessage(
        transforms=[TransformStamped(header=header, child_frame_id=frame, transform=marked) for frame in frames]
    )


def _poses(hands: Sequence[HandEstimate], count: int, operator_basis: bool) -> np.ndarray:
    """Returns the poses of each hand's first ``count`` joints.

    Returns:
        (len(hands), count, 7): position in metres and quaternion x, y, z, w (w not negative).
    """
    rotations = joint_quaternions([hand.mano for hand in hands])[:, :count]
    if operator_basis:
        rotations = quaternion_product(rotations, np.stack([OPERATOR_BASIS[hand.side] for hand in hands])[:, None])
    positions = np.stack([hand.joints[:count] for hand in hands])
    return np.concatenate([positions, canonical_quaternions(rotations)], axis=-1, dtype=np.float64)
