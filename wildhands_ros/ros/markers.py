"""Estimates to rviz markers: mesh, skeleton and a label for each hand.

Built naively, two hands' markers take 25 ms of Python objects and 9 ms to serialise; from a template 0.2 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ..hand_model.joints import MEDIAPIPE_BONES
from ..tracking.tracks import hand_names
from ..types import HandEstimate, Side
from ..visualization.overlay import label_text
from .template import SENTINEL, STAMP_SENTINEL, Template

LIFETIME = Duration(sec=1)
"""After which rviz drops the hands of a node that died."""

COLOURS = {Side.RIGHT: ColorRGBA(r=1.0, g=0.54, b=0.24, a=1.0), Side.LEFT: ColorRGBA(r=0.25, g=0.59, b=1.0, a=1.0)}
BONE_COLOUR = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
BONE_WIDTH = 0.003
TEXT_HEIGHT = 0.02
TEXT_LENGTH = 64
"""Bytes of every label, filled up with spaces, so that messages with the same hands have the same layout."""
TEXT_OFFSET = np.array([0.0, -0.05, 0.0])
"""From the wrist to its label, camera frame: above it."""

MESH, SKELETON, LABEL = 0, 1, 2
"""Marker ids in the namespace of each hand."""

BONES = np.array(MEDIAPIPE_BONES).ravel()


class MarkerBuilder:
    """Builds one serialised MarkerArray per frame, and deletes the markers of hands that are gone."""

    def __init__(self, faces: Mapping[Side, np.ndarray]):
        """Takes the (F, 3) triangles of each side's mesh."""
        self._faces = faces
        self._templates: dict[tuple, _Markers] = {}
        self._shown: tuple[tuple[str, Side], ...] = ()

    def build(self, hands: Sequence[HandEstimate], header: Header) -> bytes:
        """The CDR form of the MarkerArray, for ``publisher.publish``."""
        named = hand_names(hands)
        present = tuple((name, hand.side) for hand, name in named)
        lost = tuple(hand for hand in self._shown if hand not in present)
        self._shown = present
        key = (present, lost, header.frame_id)
        if key not in self._templates:
            if len(self._templates) >= 32:
                self._templates.clear()
            self._templates[key] = _Markers(present, lost, header.frame_id, self._faces)
        return self._templates[key].fill([hand for hand, _ in named], header)


class _Markers:
    """The template of certain hands, and where in it the numbers are."""

    def __init__(
        self,
        present: Sequence[tuple[str, Side]],
        lost: Sequence[tuple[str, Side]],
        frame_id: str,
        faces: Mapping[Side, np.ndarray],
    ):
        header = Header(stamp=STAMP_SENTINEL, frame_id=frame_id)
        self._corners = [faces[side].ravel() for _, side in present]
        markers = [
            marker for name, side in present for marker in _markers(name, header, 3 * len(faces[side]), COLOURS[side])
        ]
        for name, _ in lost:
            markers += [
                Marker(header=header, ns=name, id=number, action=Marker.DELETE) for number in (MESH, SKELETON, LABEL)
            ]
        self._template = Template(MarkerArray(markers=markers))
        points = iter(self._template.places(np.array([SENTINEL] * 3))[:, 0])
        view = self._template.view
        # The order of the markers in _markers: mesh, skeleton, label.
        self._points = [
            tuple(view(next(points), np.float64, 3 * count).reshape(-1, 3) for count in (len(corners), len(BONES), 1))
            for corners in self._corners
        ]
        self._texts = self._template.places(np.ones(TEXT_LENGTH, np.uint8))

    def fill(self, hands: Sequence[HandEstimate], header: Header) -> bytes:
        for hand, corners, (mesh, skeleton, label) in zip(hands, self._corners, self._points, strict=True):
            np.take(
                np.asarray(hand.vertices, np.float64), corners, axis=0, out=mesh, mode="clip"
            )  # raise would take a copy more
            skeleton[:] = hand.joints[BONES]
            label[:] = hand.joints[0] + TEXT_OFFSET
        texts = [label_text(hand).encode("ascii", "replace")[:TEXT_LENGTH].center(TEXT_LENGTH) for hand in hands]
        self._template.write(self._texts, np.frombuffer(b"".join(texts), np.uint8).reshape(-1, TEXT_LENGTH))
        return self._template.stamped(header.stamp)


def _markers(name: str, header: Header, corners: int, colour: ColorRGBA) -> list[Marker]:
    """Mesh, skeleton and label, with sentinels where each frame's numbers go."""
    # Only the first point of a list is looked for.
    first, other = Point(x=SENTINEL, y=SENTINEL, z=SENTINEL), Point()
    mesh = Marker(type=Marker.TRIANGLE_LIST, id=MESH, color=colour, points=[first] + [other] * (corners - 1))
    mesh.scale = Vector3(x=1.0, y=1.0, z=1.0)
    skeleton = Marker(
        type=Marker.LINE_LIST, id=SKELETON, color=BONE_COLOUR, points=[first] + [other] * (len(BONES) - 1)
    )
    skeleton.scale.x = BONE_WIDTH
    label = Marker(type=Marker.TEXT_VIEW_FACING, id=LABEL, color=colour, text="\x01" * TEXT_LENGTH)
    label.scale.z = TEXT_HEIGHT
    label.pose.position = first
    for marker in (mesh, skeleton, label):
        marker.header, marker.ns, marker.lifetime, marker.action = header, name, LIFETIME, Marker.ADD
    return [mesh, skeleton, label]
