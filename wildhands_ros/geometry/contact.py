"""Whether the thumb touches the other fingertips of its hand: balls in their pads stand for the skin.

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
TOUCHING = 0.005
"""Metres between two pads below which they touch."""
MOST_GAP = 6.0
"""Centimetres beyond which a gap is not wider."""
MOST_HIDDEN = 0.85
"""Probability that one of two tips is hidden from which on their contact is unknown."""
_WEIGHTS = np.array([-0.32, -0.44, 0.98, -0.43])
"""Weights of ``contact_features``, by ``tools/fit_contact.py``."""


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


def contact_features(joints: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """Returns what the probability of contact depends on; arguments as of ``contact_probability``.

    Returns:
        (..., 4, 4): the gap in centimetres across the ray of the camera, and along it, both at most 6 cm; the
        probability that one of both tips is hidden; and 1 for the constant.
    """
    centres, radii = pads(joints), pad_radii(joints)
    middles = joints.mean(axis=-2)
    rays = middles / np.linalg.norm(middles, axis=-1, keepdims=True)
    apart = centres[..., 1:, :] - centres[..., :1, :]
    along = apart @ rays[..., None]
    across = np.linalg.norm(apart - along * rays[..., None, :], axis=-1) - radii[..., 1:] - radii[..., :1]
    features = np.empty((*across.shape, 4))
    features[..., 0], features[..., 1] = across, np.abs(along[..., 0])
    features[..., :2] = np.clip(100 * features[..., :2], 0, MOST_GAP)
    features[..., 2] = 1 - np.minimum(visibility[..., TIPS[:1]], visibility[..., TIPS[1:]])
    features[..., 3] = 1
    return features


def contact_probability(joints: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    """Returns the (..., 4) probabilities that the thumb touches the index, middle, ring and little finger of its hand.

    Two pads touch if there are less than 5 mm between them. NaN where a tip is probably hidden.

    Args:
        joints: (..., 21, 3) metres in the camera frame.
        visibility: (..., 21) probabilities that the camera sees them; NaN if unknown.
    """
    features = contact_features(joints, visibility)
    found = 1 / (1 + np.exp(-features @ _WEIGHTS))
    return np.where(features[..., 2] <= MOST_HIDDEN, found, np.nan)
