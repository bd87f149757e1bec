"""Axes and ranges of motion of the finger joints.

Angles are (15, 3) arrays: one row per articulated joint in MediaPipe order (CMC, MCP and IP of the thumb, then MCP, PIP
and DIP of index to pinky); the columns are flexion (towards the palm), abduction (towards the thumb's side) and twist
(right-handed about the bone).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ARTICULATED_JOINTS = tuple(i for i in range(1, 21) if i % 4)
"""MediaPipe indices of the 15 joints that have angles: all except the wrist and the fingertips."""

_THUMB_ROTATION = np.radians(45)
"""Rotation of the thumb's plane of flexion relative to the fingers', about the thumb's bone, in a flat hand."""


@dataclass(frozen=True)
class AngleLimits:
    """Mean, standard deviation, minimum and maximum of each angle: (15, 3) radians as described in the module."""

    mean: np.ndarray
    stddev: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _limits() -> AngleLimits:
    # Degrees: (mean, standard deviation, low, high) of flexion, abduction, twist.
    # Means and standard deviations were tuned on real hands; limits are clinical ranges of motion, rounded outwards.
    thumb = (
        ((0, 25, -45, 50), (0, 20, -45, 45), (0, 12, -35, 35)),  # CMC
        ((15, 25, -20, 75), (0, 8, -20, 20), (0, 5, -15, 15)),  # MCP
        ((20, 30, -30, 95), (0, 4, -10, 10), (0, 4, -10, 10)),  # IP
    )
    finger = (
        ((20, 35, -35, 100), (0, 10, -28, 28), (0, 5, -15, 15)),  # MCP
        ((30, 40, -8, 120), (0, 4, -10, 10), (0, 4, -10, 10)),  # PIP
        ((20, 25, -15, 90), (0, 4, -10, 10), (0, 4, -10, 10)),  # DIP
    )
    return AngleLimits(
        *np.moveaxis(np.radians(np.array((*thumb, *finger, *finger, *finger, *finger), dtype=np.float64)), -1, 0)
    )


LIMITS = _limits()


def joint_axes(rest_joints: np.ndarray) -> np.ndarray:
    """Computes the axes of the 15 articulated joints of a right hand in the rest pose.

    Args:
        rest_joints: (21, 3) in MediaPipe order; the palm faces -y, the thumb +z.

    Returns:
        (15, 3, 3) rotation matrices whose columns are the axes of twist (along the bone), flexion and abduction.
    """
    palmar = _palm_normal(rest_joints)
    frames = []
    for joint in ARTICULATED_JOINTS:
        bone = _unit(rest_joints[joint + 1] - rest_joints[joint])
        bends_to = _unit(palmar - bone * (palmar @ bone))
        if joint < 4:
            sideways = np.cross(bone, bends_to)  # away from the fingers
            bends_to = np.cos(_THUMB_ROTATION) * bends_to - np.sin(_THUMB_ROTATION) * sideways
        flexion = np.cross(bone, bends_to)
        frames.append(np.stack([bone, flexion, np.cross(bone, flexion)], axis=1))
    return np.stack(frames)


def _palm_normal(rest_joints: np.ndarray) -> np.ndarray:
    """Returns the unit normal of the palm, pointing out of it."""
    wrist, index, pinky = rest_joints[0], rest_joints[5], rest_joints[17]
    return _unit(np.cross(index - wrist, pinky - wrist))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
