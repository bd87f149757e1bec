"""What every suite evaluates against: pictures with what is true of the hands in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..geometry.camera import Camera
from ..types import Grasp, Side


@dataclass(frozen=True, eq=False)
class TrueHand:
    """The truth about one hand; joints in MediaPipe order, NaN where they are not known."""

    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max in pixels."""
    side: Side | None = None
    keypoints: np.ndarray | None = None
    """(21, 2) pixels."""
    joints: np.ndarray | None = None
    """(21, 3) metres in the camera frame."""
    grasp: Grasp | None = None
    load_mask: Callable[[], np.ndarray] | None = None
    """Returns (H, W) bool: the hand's visible pixels."""
    visible_share: float = float("nan")
    """Of the 21 keypoints, those that are in the picture and not hidden; NaN where unknown."""


@dataclass(frozen=True, eq=False)
class TruePicture:
    """One picture and its hands."""

    name: str
    load_image: Callable[[], np.ndarray]
    """Returns (H, W, 3) RGB uint8. Raises ValueError or OSError where the picture cannot be read."""
    camera: Camera
    hands: tuple[TrueHand, ...]
    camera_is_known: bool = True
    """False: the camera is a guess, and where the hands are in it means nothing."""
    hidden_hands: int = 0
    """Hands that are no samples because hardly anything of them can be seen."""
