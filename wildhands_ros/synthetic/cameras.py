"""Random cameras and their attitudes."""

from __future__ import annotations

import numpy as np

from ..geometry.camera import Camera
from .config import WorldConfig


def random_camera(config: WorldConfig, rng: np.random.Generator) -> Camera:
    """Returns a random camera of the world."""
    width, height = config.frame_sizes[rng.integers(len(config.frame_sizes))]
    fov = np.radians(rng.uniform(*config.fov_degrees))
    centre = np.array([(width - 1) / 2, (height - 1) / 2]) + rng.normal(0, config.off_centre * width, 2)
    lens = rng.random()
    if lens < config.fisheye:
        focal = width / fov  # equidistant: pixels per radian
        return Camera(_k(focal, centre), width, height, "equidistant", rng.normal(0, 0.01, 4) * (1, 0.3, 0.1, 0.03))
    focal = width / 2 / np.tan(fov / 2)
    if lens < config.fisheye + config.distorted:
        # Barrel distortion that remains monotonic beyond the image corners.
        corner = np.hypot(width, height) / 2 / focal
        k1 = -rng.uniform(0.02, 0.22) / max(corner, 0.5) ** 2
        d = np.array([k1, 0.25 * k1**2, *rng.normal(0, 0.0005, 2), 0.0])
        return Camera(_k(focal, centre), width, height, "plumb_bob", d)
    return Camera(_k(focal, centre), width, height)


def _k(focal: float, centre: np.ndarray) -> np.ndarray:
    return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])


def random_attitude(egocentric: bool, rng: np.random.Generator) -> np.ndarray:
    """Returns a random pitch and roll as a (3, 3) rotation.

    It leads from the upright frame (x right, y up, z backward) to the camera frame.
    """
    pitch = np.radians(rng.uniform(5, 60) if egocentric else rng.uniform(-15, 60))
    roll = np.radians(rng.normal(0, 7))
    up = np.array([np.sin(roll) * np.cos(pitch), -np.cos(roll) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.cos(roll), np.sin(roll), 0.0])
    return np.column_stack([right, up, np.cross(right, up)])
