"""Smooth noise for skin, cloth and wood."""

from __future__ import annotations

import cv2
import numpy as np


def fractal(
    rng: np.random.Generator, height: int, width: int, cell: tuple[float, float], octaves: int = 4
) -> np.ndarray:
    """(height, width) float32 noise of zero mean and unit deviation; ``cell`` is the first octave's grain in pixels (x, y)."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        nx, ny = (max(2, round(size / grain * 2**octave) + 1) for size, grain in ((width, cell[0]), (height, cell[1])))
        grain = rng.standard_normal((min(ny, height), min(nx, width)), dtype=np.float32)
        total += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (total - total.mean()) / total.std()
