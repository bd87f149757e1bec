"""Where in an image a detector looks: the whole, and tiles in which far hands are large enough."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

MOST_PIXELS = 65_536
"""Of the detector's picture; a frame of 16:9 becomes 320 x 192."""
COARSE_PIXELS = 24_576
"""Of a second, coarser one: palms that fill the frame are found in it alone, for MediaPipe's detector was trained at that scale."""
CLOSE_UP_SIDE = 160
"""Of the square picture of a place at which the detector looks once more."""
LEAST_SIDE = 96
_STEP = 32
_OVERLAP = 0.4
"""Share of a tile that the next one shows, too: a hand of that size is whole in one of them."""
_LEAST_TILE = 64
"""Pixels; smaller tiles would only enlarge blur."""


class Window(NamedTuple):
    """A rectangle of an image: x, y of its corner, width, height, in pixels; it may reach beyond the image."""

    x: float
    y: float
    width: float
    height: float
    pixels: int = MOST_PIXELS
    """About so many has the detector's picture of it."""


class View(NamedTuple):
    """A window as the detector sees it."""

    picture: np.ndarray
    """(h, w, 3) uint8, sides multiples of 32; black where the window has nothing."""
    scale: float
    """Pixels of the picture per pixel of the image."""
    origin: np.ndarray
    """(2,) the image's point at the corner of the picture's first pixel, counted from the image's edge."""

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) points of the picture, counted from its edge, to pixels of the image with centres at whole numbers."""
        return points / self.scale + self.origin - 0.5


def whole(width: int, height: int) -> list[Window]:
    """The whole image, fine and coarse."""
    return [Window(0.0, 0.0, float(width), float(height), pixels) for pixels in (MOST_PIXELS, COARSE_PIXELS)]


def tiles(width: int, height: int) -> list[Window]:
    """Tiles of half the image's longer side, then of a quarter, as far as they have pixels enough; shuffled, so that neighbours come far
    apart in time."""
    found = []
    for parts in (2, 4):
        side = max(width, height) / parts
        if side < _LEAST_TILE:
            break
        level = [Window(x, y, side, side) for y in _places(height, side) for x in _places(width, side)]
        found += [level[i] for i in np.random.default_rng(parts).permutation(len(level))]
    return found


def _places(length: float, side: float) -> list[float]:
    """Where tiles begin so that they cover a length."""
    if length <= side:
        return [(length - side) / 2]
    count = math.ceil((length - side) / ((1 - _OVERLAP) * side)) + 1
    return np.linspace(0, length - side, count).tolist()


def view(image: np.ndarray, window: Window) -> View:
    """The window of an (H, W, 3) uint8 image, scaled to about its ``pixels``."""
    scale = math.sqrt(window.pixels / (window.width * window.height))
    # The most that fits once the sides are rounded up; long thin images stay narrow.
    width, height = (max(LEAST_SIDE, _STEP * int(side * scale / _STEP + 0.5)) for side in (window.width, window.height))
    while width * height > window.pixels and max(width, height) > LEAST_SIDE:
        width, height = (width - _STEP, height) if width >= height else (width, height - _STEP)
    scale = min(width / window.width, height / window.height)
    x0, y0 = max(int(window.x), 0), max(int(window.y), 0)
    x1, y1 = (
        min(math.ceil(window.x + window.width), image.shape[1]),
        min(math.ceil(window.y + window.height), image.shape[0]),
    )
    part = image[y0:y1, x0:x1]
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    picture = np.zeros((height, width, 3), np.uint8)
    left, top = max(0, (width - size[0]) // 2), max(0, (height - size[1]) // 2)
    part = part[: height - top, : width - left]
    picture[top : top + part.shape[0], left : left + part.shape[1]] = part
    return View(picture, scale, np.array([x0, y0]) - np.array([left, top]) / scale)
