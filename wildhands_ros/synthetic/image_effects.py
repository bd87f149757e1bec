"""Random changes of photographs: exposure, colour, noise, compression and blur."""

from __future__ import annotations

import cv2
import numpy as np


def blurred_by_chance(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurs an (H, W, 3) image by chance, like a small hand that is enlarged, or a moving one; returns it otherwise."""
    height, width = image.shape[:2]
    kind = rng.random()
    if kind < 0.35:
        factor = rng.uniform(1.2, 3.5)
        small = cv2.resize(image, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if kind < 0.45:
        length = int(rng.integers(3, 12))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        middle, reach = (length - 1) / 2, length / 2 * np.array([np.cos(angle), np.sin(angle)])
        (x0, y0), (x1, y1) = (np.round(middle + sign * reach).astype(int).tolist() for sign in (-1, 1))
        cv2.line(kernel, (x0, y0), (x1, y1), (1.0,))
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    return image


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
