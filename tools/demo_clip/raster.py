"""Which triangle each pixel shows, with OpenCV's polygon filler and the painter's algorithm: the triangles are small enough for it."""

from __future__ import annotations

import cv2
import numpy as np

SUBPIXEL_BITS = 4


def paint_index(corners: np.ndarray, depths: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width) int32: the nearest triangle's number, or -1. ``corners`` (F, 3, 2) pixels, ``depths`` (F,) larger is farther."""
    index = np.full((height, width), -1, np.int32)
    # Without np.max over an axis of three, which is slow.
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    chosen = np.flatnonzero((high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < width) & (low[:, 1] < height))
    order = chosen[np.argsort(-depths[chosen])]
    fixed_point = np.round(corners * 2**SUBPIXEL_BITS).astype(np.int32)
    for number in order.tolist():
        cv2.fillConvexPoly(index, fixed_point[number], number, cv2.LINE_8, SUBPIXEL_BITS)
    return index


def barycentric(corners: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, 3) weights of pixels (x, y) in their triangles (N, 3, 2), held inside of the triangle."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac = b - a, c - a
    px, py = x - a[:, 0], y - a[:, 1]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    area = np.where(np.abs(area) < 1e-9, np.inf, area)
    v = (px * ac[:, 1] - py * ac[:, 0]) / area
    w = (ab[:, 0] * py - ab[:, 1] * px) / area
    weights = np.clip(np.stack([1 - v - w, v, w], axis=-1), 0, 1)
    return weights / weights.sum(axis=-1, keepdims=True)


def look_up(
    texture: np.ndarray, pixels: np.ndarray, border: int = cv2.BORDER_REPLICATE, outside: float = 0.0
) -> np.ndarray:
    """(N, ...) bilinear samples of a float32 (H, W, ...) texture at (N, 2) pixels."""
    columns = 4096  # cv2.remap takes at most 32766
    rows = -(-len(pixels) // columns)
    grid = np.zeros((rows * columns, 2), np.float32)
    grid[: len(pixels)] = pixels
    grid = grid.reshape(rows, columns, 2)
    sampled = cv2.remap(texture, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=border, borderValue=outside)
    return sampled.reshape(rows * columns, *texture.shape[2:])[: len(pixels)]
