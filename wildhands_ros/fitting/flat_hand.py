"""The length of a flat hand beside an object of known size, from one colour image."""

from __future__ import annotations

import numpy as np

from ..geometry.pose import Pose
from ..types import HandLength
from .keypoint_marks import rays_to_joints

HEIGHT = 0.012
"""Metres of the joints of a flat hand above the table on which it lies."""
_STRAIGHT = 1.04
"""Largest length of the middle finger's chain over the distance of its ends."""
_STDDEV = 0.03
"""Standard deviation of the length from one image as a fraction: 3 % of the hand's size for a keypoint, and its
height."""


def flat_hand_length(rays: np.ndarray, table: Pose) -> HandLength:
    """Measures a flat hand that lies on a table.

    Args:
        rays: (21, 3) unit directions to the keypoints of a landmark network, in the camera's frame.
        table: Pose of the table in the camera's frame; its z axis is perpendicular to it.

    Raises:
        ValueError: The hand is not flat on the table, or the camera looks along it.
    """
    rays = rays_to_joints(rays)
    normal = table.rotation[:, 2] * -np.sign(table.rotation[:, 2] @ table.position)  # towards the camera
    chain = rays[[0, 9, 10, 11, 12]]
    if not np.isfinite(chain).all() or (np.abs(chain @ normal) < 0.3).any():
        raise ValueError("the camera must look at the table from above, with the whole hand in view")
    distances = ((table.position + HEIGHT * normal) @ normal) / (chain @ normal)
    points = chain * distances[:, None]
    length = float(np.linalg.norm(points[-1] - points[0]))
    along = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
    if along > _STRAIGHT * length:
        raise ValueError("the middle finger is bent: lay the hand flat on the table, with stretched fingers")
    return HandLength(length, _STDDEV * length)
