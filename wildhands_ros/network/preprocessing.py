"""From an image, its camera and boxes of hands to the network's inputs."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..geometry.camera import Camera
from .config import Preprocessing, WildHandsConfig
from .crop_geometry import crop_geometry
from .crop_pixels import cut_frame, normalize, normalized_crops
from .trunk_kinds import TRUNKS


@dataclass(frozen=True)
class NetworkInput:
    """Arguments of ``WildHands.forward`` for the B hands of one image, as arrays; see there."""

    crops: np.ndarray
    kpe: np.ndarray
    focal: np.ndarray
    anchor: np.ndarray
    turn: np.ndarray
    images: np.ndarray | None

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays that are present, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def preprocess(
    image_rgb: np.ndarray,
    camera: Camera,
    boxes: np.ndarray,
    config: WildHandsConfig,
    preprocessing: Preprocessing,
    turns: np.ndarray | None = None,
) -> NetworkInput:
    """Make the network's inputs for the hands of one image.

    Args:
        image_rgb: (H, W, 3) uint8, of the camera's size.
        camera: The image's camera.
        boxes: (N, 4) pixels, N >= 1; see ``crop_geometry`` for this and the following.
        config: The network's configuration.
        preprocessing: How crops are cut.
        turns: (N,) radians by which the crops are turned.

    Raises:
        ValueError: The image does not match the camera, or ``crop_geometry`` rejects a box, the turns or the camera.
    """
    geometry = crop_geometry(camera, boxes, config, preprocessing, turns)
    kind = TRUNKS[config.trunk]
    return NetworkInput(
        crops=normalized_crops(image_rgb, geometry, kind),
        kpe=geometry.kpe,
        focal=geometry.focal,
        anchor=geometry.anchor,
        turn=geometry.turn,
        images=normalize(cut_frame(image_rgb, geometry)[None], kind) if config.full_image_trunk else None,
    )
