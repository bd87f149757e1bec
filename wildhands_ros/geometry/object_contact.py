"""Whether fingertips touch something that is not a hand, as a depth image shows it.

Around each fingertip, the pixels of the depth image are divided into those of hands, for which capsules around the
bones stand, and those of other surfaces in front of the tip, at its distance, and behind it. A fingertip that touches
an object has a surface beside it; often the object also hides it.

Fingers are in the order thumb, index, middle, ring, little finger; joints are in MediaPipe order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .contact import USUAL_SIZE, pad_radii, pads
from .depth_image import FARTHEST, DepthImage

_RADIUS = 0.03
"""Metres around a fingertip that are looked at."""
_STEP = 0.005
"""Metres between the pixels that are looked up there."""
_IN_FRONT, _BEHIND = -0.015, 0.03
"""Metres along the ray between which a surface is at the distance of the fingertip."""
_HAND_MARGIN = 0.008
"""Metres around the capsules that still belong to the hand."""
_NEAREST = 5
"""Number of the nearest pixel of another surface to which the gap is measured; the first ones may be errors."""
_FEWEST_KNOWN = 0.3
"""Least share of the pixels around a fingertip whose depth is known."""
_BONES = np.array(
    [(joint, joint + 1) for joint in range(1, 20) if joint % 4]
    + [(0, 1), (0, 5), (0, 9), (0, 13), (0, 17), (1, 5), (5, 9), (9, 13), (13, 17)]
)
"""(24, 2) joints between which there is a capsule."""
_BONE_RADII = np.where(
    _BONES[:, 0] % 4 == 0, 0.016, np.where(_BONES[:, 0] > 4, 0.0085, np.where(_BONES[:, 0] == 1, 0.013, 0.010))
)
_BONE_RADII[-4:] = 0.016
"""(24,) metres, for a hand of the usual size."""
_WEIGHTS = np.array([5.37, 2.73, -3.36, -3.45, 3.05])
"""Weights of ``object_contact_features``, by ``tools/fit_object_contact.py``."""

_OFFSETS = np.stack(np.meshgrid(*2 * [np.arange(-_RADIUS, _RADIUS + _STEP / 2, _STEP)]), axis=-1).reshape(-1, 2)
_OFFSETS = _OFFSETS[np.linalg.norm(_OFFSETS, axis=1) <= _RADIUS]
"""(S, 2) metres across the optical axis."""


def object_contact_features(joints: np.ndarray, others: Sequence[np.ndarray], depth: DepthImage) -> np.ndarray:
    """Returns what the probability of contact with objects depends on; arguments as of ``object_contact_probability``.

    Returns:
        (5, 5): the shares of the pixels around each fingertip that show surfaces without hands in front of it, at its
        distance, and behind it; the gap to them in units of 3 cm, at most 1; and 1 for the constant. NaN where too few
        pixels have a depth.
    """
    centres = depth.pose.inverse().apply(pads(joints))
    tip_depths = np.maximum(centres[:, 2], 1e-3)
    pixels = depth.camera.project(centres)[:, None] + _OFFSETS * (depth.camera.focal / tip_depths)[:, None, None]
    points, known = _points(pixels, depth)
    in_camera = depth.pose.apply(points)
    hands = np.min([_distances(in_camera, each) for each in (joints, *others)], axis=0)
    is_object = known & (hands > _HAND_MARGIN)
    away = points - centres[:, None]
    along = np.einsum("tsc,tc->ts", away, centres / np.linalg.norm(centres, axis=1, keepdims=True))
    gaps = np.where(is_object, np.linalg.norm(away, axis=-1), np.inf) - pad_radii(joints)[:, None]
    gap = np.partition(gaps, _NEAREST - 1, axis=1)[:, _NEAREST - 1]
    zones = along < _IN_FRONT, (along >= _IN_FRONT) & (along <= _BEHIND), along > _BEHIND
    shares = [(is_object & zone).mean(axis=1) for zone in zones]
    features = np.column_stack([*shares, np.clip(gap / _RADIUS, 0, 1), np.ones(5)])
    is_usable = (known.mean(axis=1) >= _FEWEST_KNOWN) & (centres[:, 2] > 0)
    return np.where(is_usable[:, None], features, np.nan)


def object_contact_probability(joints: np.ndarray, others: Sequence[np.ndarray], depth: DepthImage) -> np.ndarray:
    """Returns the (5,) probabilities that the fingertips touch something that is not a hand.

    A pad touches a surface if there are less than 5 mm between them. NaN where the depth image does not tell.

    Args:
        joints: (21, 3) metres in the camera frame, at the distance that the depth image shows.
        others: The joints of the other hands.
        depth: Depth image of the same moment.
    """
    return 1 / (1 + np.exp(-object_contact_features(joints, others, depth) @ _WEIGHTS))


def _points(pixels: np.ndarray, depth: DepthImage) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (..., 3) points at pixels (..., 2) in the frame of the depth camera, and which of them are known."""
    height, width = depth.depth.shape
    rounded = np.nan_to_num(np.round(pixels), nan=-1.0, posinf=-1.0, neginf=-1.0).clip(-1, max(width, height))
    x, y = np.moveaxis(rounded.astype(np.int64), -1, 0)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    found = np.where(inside, depth.depth[y.clip(0, height - 1), x.clip(0, width - 1)], 0.0)
    known = (found > 0) & (found < FARTHEST)  # False for NaN, too
    rays = depth.camera.rays(rounded)
    known &= rays[..., 2] > 1e-3  # False for NaN, too
    scale = np.where(known, found, 1.0) / np.where(known, rays[..., 2], 1.0)
    return np.where(known[..., None], rays * scale[..., None], 0.0), known


def _distances(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Returns the metres from points (..., 3) to the capsules around the bones of a hand."""
    starts, bones = joints[_BONES[:, 0]], joints[_BONES[:, 1]] - joints[_BONES[:, 0]]
    radii = _BONE_RADII * np.linalg.norm(joints[9] - joints[0]) / USUAL_SIZE
    flat = points.reshape(-1, 3)
    # |p - s - t b|^2 with t = (p - s) b / b^2 between 0 and 1, without arrays of (P, 24, 3).
    along = flat @ bones.T - (starts * bones).sum(axis=1)
    lengths = np.maximum((bones**2).sum(axis=1), 1e-12)
    share = np.clip(along / lengths, 0, 1)
    squared = (flat**2).sum(axis=1)[:, None] - 2 * flat @ starts.T + (starts**2).sum(axis=1)
    squared += share * (share * lengths - 2 * along)
    return np.asarray((np.sqrt(np.maximum(squared, 0)) - radii).min(axis=1).reshape(points.shape[:-1]))
