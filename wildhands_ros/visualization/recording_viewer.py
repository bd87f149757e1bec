"""Shows an annotated recording in the browser with viser: video, hands in 3D, masks and plots side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..hand_model.joints import MEDIAPIPE_BONES
from ..recording.report import COLOURS, Recording
from ..types import Side
from .overlay import SIDE_COLOURS
from .timeline import Timeline
from .viewer import BONE_COLOURS, FRUSTUM, JPEG_QUALITY, narrowed, served, served_at

if TYPE_CHECKING:
    from viser import CameraFrustumHandle, GuiCheckboxHandle, GuiSliderHandle, ViserServer

NOT_USABLE_COLOUR = (220, 50, 70)
"""RGB of hands that are not usable."""
PLOT_QUALITY = 95
POLL = 0.01
"""Seconds between two looks at the controls."""
SPEEDS = ("0.25", "0.5", "1", "2", "4")


@dataclass(frozen=True)
class SceneHand:
    """A hand of a frame, in the frame of the scene."""

    side: Side
    usable: bool
    text: str
    """Track, state and doubts, for the list beside the image."""
    joints: np.ndarray
    """(21, 3) metres, MediaPipe order."""
    vertices: np.ndarray | None
    """(V, 3) metres; None if the hand model is unknown."""


@dataclass(frozen=True)
class SceneFrame:
    """A frame of the recording."""

    image: np.ndarray | None
    """(H, W, 3) uint8 RGB without drawings; None if the recording does not have it."""
    overlay: np.ndarray | None
    """The image with its hands."""
    camera: Camera
    camera_pose: Pose | None
    """Pose of the camera in the scene; None if it is unknown, and the hands' places with it."""
    hands: Sequence[SceneHand]


class RecordingViewer:
    """A web server with a slider over the frames of a recording.

    The scene is in the fixed frame if the recording has one, with the path of the camera, and in the frame of the
    camera otherwise.

    Args:
        recording: states of all hands, for the timeline.
        frame_of: reads a frame by its number.
        path: (N, 3) positions of the camera in the scene; empty if the scene is in the frame of the camera.
        faces: (F, 3) triangles of each side's mesh.
        host: address to listen on; "0.0.0.0" makes it visible to other machines.
        port: port to listen on; if it is in use, the next free one.

    Raises:
        ImportError: viser is not installed.
    """

    def __init__(
        self,
        recording: Recording,
        frame_of: Callable[[int], SceneFrame],
        path: np.ndarray,
        faces: Mapping[Side, np.ndarray],
        host: str = "127.0.0.1",
        port: int = 8080,
    ):
        self._recording, self._frame_of, self._faces = recording, frame_of, faces
        self._timeline = Timeline(recording)
        self._server: ViserServer = served(host, port)
        self._hands: dict[tuple[Side, int], _Hand] = {}
        self._camera: CameraFrustumHandle | None = None
        self._shown = -1
        self._played_at = time.monotonic()
        self._add_scene(path)
        gui = self._server.gui
        self._image = gui.add_image(np.zeros((9, 16, 3), np.uint8), format="jpeg", jpeg_quality=JPEG_QUALITY)
        self.slider: GuiSliderHandle[int] = gui.add_slider("frame", 0, max(len(recording.stamps) - 1, 1), 1, 0)
        self.playing: GuiCheckboxHandle = gui.add_checkbox("play", initial_value=False)
        self._speed = gui.add_dropdown("speed", SPEEDS, initial_value="1")
        self._plots = gui.add_image(self._timeline.at(0), format="jpeg", jpeg_quality=PLOT_QUALITY)
        self._text = gui.add_markdown("")
        legend = " ".join(f'<span style="color:{colour}">&#9632;</span> {kind}' for kind, colour in COLOURS.items())
        gui.add_html(f'<div style="padding:0.5em;font-size:0.8em">{legend}</div>')

    @property
    def url(self) -> str:
        """Address for a browser on this machine."""
        return served_at(self._server)

    @property
    def text(self) -> str:
        """What is said about the frame that is shown."""
        return self._text.content

    def close(self) -> None:
        """Stops the server."""
        self._server.stop()

    def run(self) -> None:
        """Follows the controls until Ctrl-C."""
        while True:
            self.update()
            time.sleep(POLL)

    def update(self) -> None:
        """Shows the frame that the controls select now."""
        now = time.monotonic()
        number = min(int(self.slider.value), len(self._recording.stamps) - 1)
        if number != self._shown:
            self._played_at = now
            self.show(number)
        elif self.playing.value and number + 1 < len(self._recording.stamps):
            until = self._recording.stamps[number] + (now - self._played_at) * float(self._speed.value)
            due = int(np.searchsorted(self._recording.stamps, until, side="right")) - 1
            if due > number:
                # viser declares the value twice, once without its setter.
                self.slider.value = due  # type: ignore[misc]

    def show(self, number: int) -> None:
        """Shows a frame."""
        frame = self._frame_of(number)
        with self._server.atomic():
            if frame.overlay is not None:
                self._image.image = narrowed(frame.overlay)
            self._plots.image = self._timeline.at(number)
            self._show_camera(frame)
            self._show_hands(frame.hands if frame.camera_pose is not None else ())
            lines = [f"frame {number}, {self._recording.stamps[number]:.2f} s"]
            lines += [] if frame.image is not None else ["the recording does not have this image"]
            lines += [] if frame.camera_pose is not None else ["pose of the camera unknown: no hands in the scene"]
            self._text.content = "\n\n".join([*lines, *(hand.text for hand in frame.hands)])
        self._shown = number

    def _add_scene(self, path: np.ndarray) -> None:
        scene = self._server.scene
        has_world = len(path) > 0
        scene.set_up_direction("+z" if has_world else "-y")
        if has_world:
            segments = np.stack([path[:-1], path[1:]], axis=1)
            scene.add_line_segments("camera_path", segments, colors=(90, 170, 90), thickness=0.002)
        # Obliquely from behind the camera, with camera and hands in view.
        up = np.array([0.0, 0.0, 1.0]) if has_world else np.array([0.0, -1.0, 0.0])
        wrists = [hand.wrist for hands in self._recording.hands for hand in hands]
        camera = np.median(path, axis=0) if has_world else np.zeros(3)
        middle = (np.median(wrists, axis=0) + camera) / 2 if wrists else camera
        back = (camera - middle) / max(float(np.linalg.norm(camera - middle)), 1e-6)
        view = middle + 0.4 * back + 0.45 * np.cross(up, back) + 0.2 * up
        self._server.initial_camera.position = tuple(view.tolist())
        self._server.initial_camera.look_at = tuple(middle.tolist())

    def _show_camera(self, frame: SceneFrame) -> None:
        if frame.camera_pose is None:
            if self._camera is not None:
                self._camera.visible = False
            return
        camera = frame.camera
        field_of_view = float(2 * np.arctan(camera.height / (2 * camera.k[1, 1])))
        if self._camera is None:
            self._camera = self._server.scene.add_camera_frustum(
                "camera", field_of_view, camera.width / camera.height, scale=FRUSTUM, thickness=0.002,
                color=(160, 160, 160), format="jpeg", jpeg_quality=JPEG_QUALITY,
            )  # fmt: skip
        self._camera.visible = True
        self._camera.fov, self._camera.aspect = field_of_view, camera.width / camera.height
        self._camera.position = frame.camera_pose.position
        self._camera.wxyz = np.roll(Rotation.from_matrix(frame.camera_pose.rotation).as_quat(), 1)
        if frame.image is not None:
            self._camera.image = narrowed(frame.image)

    def _show_hands(self, hands: Sequence[SceneHand]) -> None:
        shown: set[tuple[Side, int]] = set()
        for hand in hands:
            number = sum(side is hand.side for side, _ in shown)
            key = hand.side, number
            shown.add(key)
            if key not in self._hands:
                self._hands[key] = _Hand(self._server, f"hands/{hand.side.value}_{number}", self._faces[hand.side])
            self._hands[key].show(hand)
        for key in self._hands.keys() - shown:
            self._hands[key].hide()


class _Hand:
    """One hand in the scene."""

    def __init__(self, server: ViserServer, name: str, faces: np.ndarray):
        self._server, self._name, self._faces = server, name, faces.astype(np.uint32)

    def show(self, hand: SceneHand) -> None:
        scene, colour = self._server.scene, SIDE_COLOURS[hand.side] if hand.usable else NOT_USABLE_COLOUR
        bones = hand.joints[np.array(MEDIAPIPE_BONES)].astype(np.float32)
        self._skeleton = scene.add_line_segments(
            f"{self._name}/skeleton", bones, np.repeat(BONE_COLOURS[:, None], 2, axis=1), thickness=0.003
        )
        if hand.vertices is not None:
            self._mesh = scene.add_mesh_simple(
                f"{self._name}/mesh", hand.vertices, self._faces, color=colour, opacity=0.75
            )

    def hide(self) -> None:
        self._server.scene.remove_by_name(self._name)
