"""Random changes of photographs: exposure, colour, noise, compression and blur."""

from __future__ import annotations

import cv2
import numpy as np

_LONGEST_BLUR = 25
"""Pixels of the longest motion blur; longer ones are computed on a smaller image."""


def blurred_by_chance(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurs an (H, W, 3) image by chance, like a small hand that is enlarged, or a moving one; returns it otherwise."""
    height, width = image.shape[:2]
    kind = rng.random()
    if kind < 0.35:
        factor = rng.uniform(1.2, 3.5)
        small = cv2.resize(image, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if kind < 0.45:
        return motion_blurred(image, float(rng.integers(3, 12)), rng.uniform(0, np.pi))
    return image


def motion_blurred(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Blurs an (H, W, 3) image along a line.

    Args:
        image: The image.
        length: Length of the line in pixels.
        angle: Its direction in radians.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST_BLUR / length)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    side = max(1, int(length * scale))
    kernel = np.zeros((side, side), np.float32)
    middle, reach = (side - 1) / 2, side / 2 * np.array([np.cos(angle), np.sin(angle)])
    (x0, y0), (x1, y1) = (np.round(middle + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, (x0, y0), (x1, y1), (1.0,))
    blurred = cv2.filter2D(small, -1, kernel / kernel.sum())
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR) if scale < 1 else blurred


def photometrically_changed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies random exposure, contrast, colour, blur, noise and compression; occasionally removes the colour."""
    values = image.astype(np.float32)
    values = 255 * (values / 255) ** np.exp(rng.normal(0, 0.3))
    mean = values.mean()
    values = (values - mean) * np.exp(rng.normal(0, 0.2)) + mean + rng.normal(0, 12)
    values *= 1 + rng.normal(0, 0.08, 3).astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * (0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.4))
    if rng.random() < 0.25:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.6))
    values += rng.normal(0, rng.exponential(3.0), values.shape)
    image = np.clip(values, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded just now
        return decoded.astype(np.uint8, copy=False)
    return image
