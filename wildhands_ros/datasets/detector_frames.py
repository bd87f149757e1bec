"""What the hand detector learns from an image: boxes, sides and directions of its hands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..detection.landmarks import MIDDLE_MCP, WRIST
from ..types import Side
from .labels import LabelledHand, LabelledImage


@dataclass(frozen=True)
class Frame:
    """An image and the detector's labels of its N hands."""

    image: np.ndarray
    """(h, w, 3) uint8 RGB"""
    boxes: np.ndarray
    """(N, 4) pixels"""
    right: np.ndarray
    """(N,) 1 for right hands, 0 for left hands, NaN where the side is unknown."""
    up: np.ndarray
    """(N, 2) unit vectors from the wrist to the middle finger's base, or zero if unknown."""
    counts: np.ndarray
    """(N,) bool: whether enough of the hand is visible; the others are left out of the losses."""


def detector_frame(image: LabelledImage) -> Frame:
    """What the detector learns from a labelled image."""
    hands = image.hands
    return Frame(
        image.load_image(),
        np.array([hand.box for hand in hands]).reshape(-1, 4),
        np.array([np.nan if hand.side is None else float(hand.side is Side.RIGHT) for hand in hands]),
        np.array([_up(hand) for hand in hands]).reshape(-1, 2),
        np.array([not hand.ignore for hand in hands], bool),
    )


def _up(hand: LabelledHand) -> np.ndarray:
    """(2,) unit vector from the wrist to the middle finger's base; zero if unknown or if the hand points along the
    viewing direction."""
    if hand.keypoints is None:
        return np.zeros(2)
    direction = hand.keypoints[MIDDLE_MCP] - hand.keypoints[WRIST]
    length = np.linalg.norm(direction)
    return (
        direction / length
        if np.isfinite(length) and length > 0.1 * (hand.box[2:] - hand.box[:2]).max()
        else np.zeros(2)
    )
