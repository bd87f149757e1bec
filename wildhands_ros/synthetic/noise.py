"""Smooth random noise, optionally tileable."""

from __future__ import annotations

import cv2
import numpy as np


def fractal(
    rng: np.random.Generator, height: int, width: int, cell: tuple[float, float], octaves: int = 4, tiles: bool = False
) -> np.ndarray:
    """Returns (height, width) float32 noise with zero mean and unit standard deviation.

    Args:
        rng: Source of random numbers.
        height: Height in pixels.
        width: Width in pixels.
        cell: Grain size of the first octave in pixels (x, y).
        octaves: Number of octaves, each with half the grain size and half the strength of the one before.
        tiles: Whether opposite edges match.
    """
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        nx = int(np.clip(round(width / cell[0] * 2**octave), 2, width))
        ny = int(np.clip(round(height / cell[1] * 2**octave), 2, height))
        grain = rng.standard_normal((ny, nx), dtype=np.float32)
        if tiles:
            grain = np.pad(grain, 2, mode="wrap")
            scale_x, scale_y = width / nx, height / ny
            x = ((np.arange(width) + 0.5) / scale_x + 1.5).astype(np.float32)
            y = ((np.arange(height) + 0.5) / scale_y + 1.5).astype(np.float32)
            map_x, map_y = np.meshgrid(x, y)
            layer = cv2.remap(grain, map_x, map_y, interpolation=cv2.INTER_CUBIC)
        else:
            layer = cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
        total += layer / 2**octave
    return (total - total.mean()) / max(float(total.std()), 1e-6)
