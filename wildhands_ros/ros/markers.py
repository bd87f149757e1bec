"""Converts estimates to rviz markers: mesh, skeleton and label of each hand.

Building the markers of two hands as Python objects takes 25 ms and serialising them 9 ms; filling a template takes 0.2
ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ..hand_model.joints import MEDIAPIPE_BONES
from ..tracking.tracks import hand_names
from ..types import HandEstimate, Side
from ..visualization.overlay import label_text
from .frame_ids import tf_frame
from .template import SENTINEL, STAMP_SENTINEL, Template

LIFETIME = Duration(sec=1)
"""Time after which rviz removes the hands if the node has died."""

COLOURS = {Side.RIGHT: ColorRGBA(r=1.0, g=0.54, b=0.24, a=1.0), Side.LEFT: ColorRGBA(r=0.25, g=0.59, b=1.0, a=1.0)}
BONE_COLOUR = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
BONE_WIDTH = 0.003
TEXT_HEIGHT = 0.02
SPACE_WIDTH = 0.4 * TEXT_HEIGHT
"""Width of a space in a label, as scale.x. rviz does not derive it from the height of the text: without it, spaces are
metres wide."""
TEXT_LENGTH = 64
"""Bytes of a label, padded with spaces, so that messages with the same hands have the same layout."""
TEXT_OFFSET = np.array([0.0, -0.05, 0.0])
"""Metres from the wrist to its label in the camera frame: above the wrist."""

MESH, SKELETON, LABEL = 0, 1, 2
"""Marker ids in the namespace of a hand."""

BONES = np.array(MEDIAPIPE_BONES).ravel()
"""Joints at the two ends of each bone."""

MAX_TEMPLATES = 32


@dataclass(frozen=True)
class _Shown:
    """A hand that has markers."""

    name: str
    side: Side


@dataclass(frozen=True)
class _Layout:
    """What the layout of a message depends on."""

    present: tuple[_Shown, ...]
    lost: tuple[_Shown, ...]
    frame_id: str


class MarkerBuilder:
    """Builds a serialised MarkerArray for each frame, and deletes the markers of hands that are lost."""

    def __init__(self, faces: Mapping[Side, np.ndarray]):
        """Initialises it for a hand model with these (F, 3) triangles of each side."""
        self._faces = faces
        self._templates: dict[_Layout, _MarkerTemplate] = {}
        self._shown: tuple[_Shown, ...] = ()

    def build(self, hands: Sequence[HandEstimate], header: Header) -> bytes:
        """Returns the CDR form of the MarkerArray, for ``publisher.publish``."""
        named = hand_names(hands)
        present = tuple(_Shown(name, hand.side) for hand, name in named)
        lost = tuple(hand for hand in self._shown if hand not in present)
        layout = _Layout(present, lost, tf_frame(header.frame_id))
        self._shown = present
        if layout not in self._templates:
            if len(self._templates) >= MAX_TEMPLATES:
                self._templates.clear()
            self._templates[layout] = _MarkerTemplate(layout, self._faces)
        return self._templates[layout].fill([hand for hand, _ in named], header)


@dataclass(frozen=True)
class _Places:
    """Views of the numbers of a hand in a template, each (N, 3)."""

    mesh: np.ndarray
    skeleton: np.ndarray
    label: np.ndarray


class _MarkerTemplate:
    """The serialised markers of certain hands, and where their numbers are."""

    def __init__(self, layout: _Layout, faces: Mapping[Side, np.ndarray]):
        header = Header(stamp=STAMP_SENTINEL, frame_id=layout.frame_id)
        self._corners = [faces[hand.side].ravel() for hand in layout.present]
        markers: list[Marker] = []
        for hand, corners in zip(layout.present, self._corners, strict=True):
            markers += _markers(hand.name, header, len(corners), COLOURS[hand.side])
        for hand in layout.lost:
            markers += [
                Marker(header=header, ns=hand.name, id=number, action=Marker.DELETE)
                for number in (MESH, SKELETON, LABEL)
            ]
        self._template = Template(MarkerArray(markers=markers))
        points = iter(self._template.places(np.array([SENTINEL] * 3))[:, 0])
        view = self._template.view
        # The order of the markers in _markers: mesh, skeleton, label.
        self._places = [
            _Places(*(view(next(points), np.float64, 3 * n).reshape(-1, 3) for n in (len(corners), len(BONES), 1)))
            for corners in self._corners
        ]
        self._texts = self._template.places(np.ones(TEXT_LENGTH, np.uint8))

    def fill(self, hands: Sequence[HandEstimate], header: Header) -> bytes:
        """Returns the message with the numbers of these hands."""
        for hand, corners, places in zip(hands, self._corners, self._places, strict=True):
            # With mode="raise", numpy would write to a copy first.
            np.take(np.asarray(hand.vertices, np.float64), corners, axis=0, out=places.mesh, mode="clip")
            places.skeleton[:] = hand.joints[BONES]
            places.label[:] = hand.joints[0] + TEXT_OFFSET
        texts = [label_text(hand).encode("ascii", "replace")[:TEXT_LENGTH].center(TEXT_LENGTH) for hand in hands]
        self._template.write(self._texts, np.frombuffer(b"".join(texts), np.uint8).reshape(-1, TEXT_LENGTH))
        return self._template.stamped(header.stamp)


def _markers(name: str, header: Header, corners: int, colour: ColorRGBA) -> list[Marker]:
    """Returns mesh, skeleton and label, with sentinels where the numbers of each frame are written."""
    # One sentinel at the beginning of a list suffices to find the list.
    first, other = Point(x=SENTINEL, y=SENTINEL, z=SENTINEL), Point()
    mesh = Marker(type=Marker.TRIANGLE_LIST, id=MESH, color=colour, points=[first] + [other] * (corners - 1))
    mesh.scale = Vector3(x=1.0, y=1.0, z=1.0)
    skeleton = Marker(
        type=Marker.LINE_LIST, id=SKELETON, color=BONE_COLOUR, points=[first] + [other] * (len(BONES) - 1)
    )
    skeleton.scale.x = BONE_WIDTH
    label = Marker(type=Marker.TEXT_VIEW_FACING, id=LABEL, color=colour, text="\x01" * TEXT_LENGTH)
    label.scale.x, label.scale.z = SPACE_WIDTH, TEXT_HEIGHT
    label.pose.position = first
    for marker in (mesh, skeleton, label):
        marker.header, marker.ns, marker.lifetime, marker.action = header, name, LIFETIME, Marker.ADD
    return [mesh, skeleton, label]
