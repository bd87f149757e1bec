"""How near the fingertips of a hand are to each other: balls in their pads stand for the skin.

Fingers are in the order thumb, index, middle, ring, little finger; joints are in MediaPipe order.
"""

from __future__ import annotations

import numpy as np

TIPS = np.array([4, 8, 12, 16, 20])
"""Joint of each fingertip; the joint before it is the last one that bends."""
PAD_PLACE = 0.72
"""Place of the pad's ball along the last bone of a finger, as a share of its length."""
PAD_RADII = np.array([0.0092, 0.0076, 0.0078, 0.0074, 0.0066])
"""(5,) metres from the bone to the skin of the pad, for a hand of the usual size."""
USUAL_SIZE = 0.089
"""Metres from the wrist to the knuckle of the middle finger of such a hand."""


def pads(joints: np.ndarray) -> np.ndarray:
    """Returns the (..., 5, 3) centres of the pads of the fingertips of (..., 21, 3) joints."""
    before, tips = joints[..., TIPS - 1, :], joints[..., TIPS, :]
    return before + PAD_PLACE * (tips - before)


def pad_radii(joints: np.ndarray) -> np.ndarray:
    """Returns the (..., 5) radii of the pads of (..., 21, 3) joints in metres."""
    size = np.linalg.norm(joints[..., 9, :] - joints[..., 0, :], axis=-1, keepdims=True)
    return PAD_RADII * size / USUAL_SIZE


def thumb_gaps(joints: np.ndarray) -> np.ndarray:
    """Returns the (..., 4) metres between the skin of the thumb's pad and of each other fingertip's.

    They are negative for pads that are pressed together.
    """
    centres, radii = pads(joints), pad_radii(joints)
    distances = np.linalg.norm(centres[..., 1:, :] - centres[..., :1, :], axis=-1)
    return distances - radii[..., 1:] - radii[..., :1]
