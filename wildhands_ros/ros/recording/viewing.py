"""``wildhands view RECORDING``: shows an annotated bag in the browser."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path

import numpy as np

from ...geometry.camera import Camera
from ...geometry.pose import Pose
from ...hand_model.asset import open_hands
from ...hand_model.posing import HandPoser
from ...io.errors import foreign_bytes
from ...recording.bags import Bag
from ...recording.demonstrations import KIND
from ...recording.message import SIDE_OF_VALUE, Message
from ...recording.report import Recording
from ...types import Doubt, ManoParameters, Side
from ...visualization.recording_viewer import RecordingViewer, SceneFrame, SceneHand
from .recorded_frames import STATES, IndexedFrame, index_recording, read_frame
from .report import draw_recorded_hands

_UNUSUAL = re.compile(r"[^\w :-]|__")
"""Characters of the name of a track that are not shown, because the page would take them for Markdown or HTML. The
recording may be a stranger's."""
_LONGEST_TRACK = 40


class RecordedScene:
    """The frames of an opened annotated bag for the viewer. Not thread-safe.

    Attributes:
        recording: states of all hands.
        path: (N, 3) positions of the camera in the fixed frame; empty without one.
        faces: (F, 3) triangles of each side's mesh.
    """

    def __init__(self, bag: Bag):
        """Reads the hands of the bag.

        Raises:
            InputError: there are none.
        """
        self._bag, self._index = bag, index_recording(bag)
        frames = self._index.frames
        stamps = (np.array([frame.stamp for frame in frames]) - frames[0].stamp) / 1e9
        self.recording = Recording(bag.path.name, stamps, [frame.hands for frame in frames], lambda _: None)
        poses = [frame.camera_pose for frame in frames if frame.camera_pose is not None]
        self.path = np.array([pose.position for pose in poses]).reshape(-1, 3)
        model = open_hands()
        self.faces = {side: asset.faces for side, asset in model.items()}
        # Meshes are computed from the parameters. Those of another hand model belong to other meshes.
        self._poser = HandPoser(model) if self._index.hand_model == model[Side.RIGHT].name else None

    def __call__(self, number: int) -> SceneFrame:
        """Reads a frame.

        Raises:
            InputError: its messages have impossible values.
        """
        with foreign_bytes(self._bag.path, KIND):
            return self._read(self._index.frames[number])

    def _read(self, frame: IndexedFrame) -> SceneFrame:
        found = read_frame(self._bag, frame.stamp, frame.received)
        pose = frame.camera_pose if self._index.fixed_frame else Pose.identity()
        overlay = None if found.image is None else draw_recorded_hands(found.image, found.hands)
        messages = found.hands.hands if found.hands is not None else ()
        hands = [self._hand(hand, pose) for hand in messages if hand.side in SIDE_OF_VALUE]
        return SceneFrame(found.image, overlay, self._camera(frame, found.hands), pose, hands)

    def _hand(self, hand: Message, camera: Pose | None) -> SceneHand:
        side, placed = SIDE_OF_VALUE[hand.side], camera or Pose.identity()
        vertices = None
        if self._poser is not None:
            mano = ManoParameters.from_message(hand.mano)
            vertices = placed.apply(self._poser.vertices(mano, side)).astype(np.float32)
        joints = placed.apply(np.reshape(hand.joints, (21, 3)).astype(np.float64))
        return SceneHand(side, bool(hand.usable), _text(hand), joints, vertices)

    @staticmethod
    def _camera(frame: IndexedFrame, hands: Message | None) -> Camera:
        if hands is None:
            raise ValueError(f"the hands with the stamp {frame.stamp} ns cannot be read again: has the bag changed?")
        return Camera(np.array(hands.k), hands.width, hands.height, hands.distortion_model, np.array(hands.d))


def view_recording(path: Path, host: str, port: int, open_browser: bool) -> None:
    """Shows an annotated bag in the browser until Ctrl-C.

    Raises:
        InputError: the bag has no hands.
        ImportError: viser is not installed.
    """
    with Bag(path) as bag:
        scene = RecordedScene(bag)
        viewer = RecordingViewer(scene.recording, scene, scene.path, scene.faces, host, port)
        print(f"open {viewer.url} in a browser; press Ctrl-C to stop", flush=True)
        if open_browser:
            webbrowser.open(viewer.url)
        try:
            viewer.run()
        except KeyboardInterrupt:
            pass
        finally:
            viewer.close()


def _text(hand: Message) -> str:
    """Returns one line about a hand."""
    side, doubts = SIDE_OF_VALUE[hand.side].value, Doubt(int(hand.doubts))
    names = ", ".join((doubt.name or "").lower().replace("_", " ") for doubt in Doubt if doubt & doubts)
    usable = "usable" if hand.usable else "not usable"
    state = STATES[hand.state].name.lower().replace("_", " ")
    visibility = float(np.mean(hand.joints_visibility))
    track = _UNUSUAL.sub("?", hand.id)[:_LONGEST_TRACK] or "no track"
    return f"**{side}** ({track}): {usable}, {state}, visibility {visibility:.2f}" + (
        f"; doubts: {names}" if names else ""
    )
