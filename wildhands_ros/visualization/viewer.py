"""Shows hands in the browser with viser: the 3D scene beside the image with its overlay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..hand_model.frames import joint_quaternions
from ..hand_model.joints import MEDIAPIPE_BONES
from ..tracking.tracks import hand_names
from ..types import FrameEstimate, HandEstimate, Side
from .overlay import FINGER_COLOURS, PALM_COLOUR, SIDE_COLOURS, draw_frame, label_text

if TYPE_CHECKING:
    from viser import CameraFrustumHandle, SceneApi, ViserServer

IMAGE_WIDTH = 640
"""Largest width of the overlay in pixels; more would only cost bandwidth."""
JPEG_QUALITY = 80
FRUSTUM = 0.08
"""Distance of the image from the camera in the scene, in metres."""
AXES = 0.015
"""Length of the axes of a joint's frame, in metres."""
BONE_COLOURS = np.array(
    [PALM_COLOUR if parent == 0 else FINGER_COLOURS[(child - 1) // 4] for parent, child in MEDIAPIPE_BONES], np.uint8
)


class HandViewer:
    """A web server that shows camera, meshes, skeletons, joint frames and labels in the camera frame, and the image.

    Args:
        faces: (F, 3) triangles of each side's mesh.
        host: address to listen on; "0.0.0.0" makes it visible to other machines.
        port: port to listen on; if it is in use, the next free one.

    Raises:
        ImportError: viser is not installed.
    """

    def __init__(self, faces: Mapping[Side, np.ndarray], host: str = "127.0.0.1", port: int = 8080):
        self._faces = dict(faces)
        self._server = served(host, port)
        self._server.scene.set_up_direction("-y")
        self._server.scene.add_grid(
            "floor",
            2.0,
            2.0,
            plane="xz",
            cell_size=0.1,
            section_size=0.5,
            position=(0.0, 0.3, 0.5),
            cell_color=(50, 50, 50),
            section_color=(90, 90, 90),
        )
        self._server.initial_camera.position = (0.42, -0.28, 0.05)
        self._server.initial_camera.look_at = (0.0, 0.03, 0.4)
        self._image = self._server.gui.add_image(
            np.zeros((9, 16, 3), np.uint8), format="jpeg", jpeg_quality=JPEG_QUALITY
        )
        self._text = self._server.gui.add_markdown("")
        self._camera: CameraFrustumHandle | None = None
        self._hands: dict[tuple[str, Side], _Hand] = {}

    @property
    def url(self) -> str:
        """Address for a browser on this machine."""
        return served_at(self._server)

    def close(self) -> None:
        """Stops the server."""
        self._server.stop()

    def show(self, image_rgb: np.ndarray, frame: FrameEstimate) -> None:
        """Shows one frame.

        Args:
            image_rgb: (H, W, 3) uint8, the image of the estimate.
            frame: the estimate.
        """
        drawn = narrowed(draw_frame(image_rgb, frame, self._faces))
        named = [((name, hand.side), hand) for hand, name in hand_names(frame.hands)]
        with self._server.atomic():
            self._image.image = drawn
            self._show_camera(frame.camera, narrowed(image_rgb))
            for key, hand in named:
                if key not in self._hands:
                    self._hands[key] = _Hand(self._server.scene, key[0], self._faces[hand.side], hand)
                self._hands[key].show(hand)
            for key in self._hands.keys() - dict(named).keys():
                self._hands[key].hide()
            lines = [f"**{name}** ({hand.track_id or 'no track'}): {label_text(hand)}" for (name, _), hand in named]
            self._text.content = "\n\n".join(lines or ["no hands"])

    def _show_camera(self, camera: Camera, image_rgb: np.ndarray) -> None:
        field_of_view = 2 * np.arctan(camera.height / (2 * camera.k[1, 1]))
        if self._camera is None:
            self._camera = self._server.scene.add_camera_frustum(
                "camera",
                field_of_view,
                camera.width / camera.height,
                scale=FRUSTUM,
                thickness=0.002,
                color=(160, 160, 160),
                image=image_rgb,
                format="jpeg",
                jpeg_quality=JPEG_QUALITY,
            )
        self._camera.fov, self._camera.aspect, self._camera.image = (
            field_of_view,
            camera.width / camera.height,
            image_rgb,
        )


class _Hand:
    """One hand in the scene."""

    def __init__(self, scene: SceneApi, name: str, faces: np.ndarray, hand: HandEstimate):
        colour = SIDE_COLOURS[hand.side]
        place = f"hands/{name}_{hand.side.value}"
        self._mesh = scene.add_mesh_simple(
            f"{place}/mesh", hand.vertices, faces.astype(np.uint32), color=colour, opacity=0.75
        )
        colours = np.repeat(BONE_COLOURS[:, None], 2, axis=1)
        self._skeleton = scene.add_line_segments(
            f"{place}/skeleton", hand.joints[np.array(MEDIAPIPE_BONES)], colours, thickness=0.003
        )
        self._frames = scene.add_batched_axes(
            f"{place}/frames", *_frames(hand), axes_length=AXES, axes_radius=AXES / 15
        )
        self._label = scene.add_label(f"{place}/label", "", anchor="bottom-center")

    def show(self, hand: HandEstimate) -> None:
        self._mesh.vertices = hand.vertices
        self._skeleton.points = hand.joints[np.array(MEDIAPIPE_BONES)]
        self._frames.batched_wxyzs, self._frames.batched_positions = _frames(hand)
        self._label.text, self._label.position = (
            f"{hand.side.value}  {hand.joints[0][2]:.2f} m",
            hand.joints[12] + (0, -0.02, 0),
        )
        self._set_visible(True)

    def hide(self) -> None:
        self._set_visible(False)

    def _set_visible(self, visible: bool) -> None:
        for handle in (self._mesh, self._skeleton, self._frames, self._label):
            handle.visible = visible


def _frames(hand: HandEstimate) -> tuple[np.ndarray, np.ndarray]:
    """Returns the joints' frames in MANO's basis: quaternions (21, 4), w first, and positions (21, 3)."""
    return np.roll(joint_quaternions([hand.mano])[0], 1, axis=1), np.asarray(hand.joints, np.float64)


def served(host: str, port: int) -> ViserServer:
    """Starts a server with the looks of this package.

    Args:
        host: address to listen on.
        port: port to listen on; if it is in use, the next free one.

    Raises:
        ImportError: viser is not installed.
    """
    try:
        import viser
    except ImportError as error:
        raise ImportError("wildhands view needs viser: pip install viser (or wildhands_ros[view])") from error
    server = viser.ViserServer(host, port, label="wildhands", verbose=False)
    server.gui.configure_theme(control_width="large", dark_mode=True, show_logo=False)
    server.gui.main_panel.dock_right()
    server.gui.set_panel_label("wildhands")
    return server


def served_at(server: ViserServer) -> str:
    """Returns the address of a server for a browser on this machine."""
    host = server.get_host()
    return f"http://{'localhost' if host in ('0.0.0.0', '127.0.0.1') else host}:{server.get_port()}"


def narrowed(image: np.ndarray) -> np.ndarray:
    """Returns an image that is at most ``IMAGE_WIDTH`` wide."""
    height, width = image.shape[:2]
    if width <= IMAGE_WIDTH:
        return image
    return cv2.resize(image, (IMAGE_WIDTH, round(height * IMAGE_WIDTH / width)), interpolation=cv2.INTER_AREA)
