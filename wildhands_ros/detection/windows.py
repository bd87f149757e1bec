"""Windows of an image that a detector searches: the whole image, and tiles in which distant hands are large enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

MOST_PIXELS = 65_536
"""Maximum size of the detector's input in pixels; a 16:9 image becomes 320 x 192."""
COARSE_PIXELS = 24_576
"""Size of a second, coarser input. Only there are palms found that fill the image, because MediaPipe's detector was
trained at that scale."""
SECOND_STAGE_SIDE = 160
"""Side of the square input of the second stage in pixels."""
LEAST_SIDE = 96
_STEP = 32
_OVERLAP = 0.4
"""Share of a tile that the next one covers as well, so that a hand of that size is complete in one of them."""
_LARGE_IMAGE = 960
"""Longer side in pixels from which tiles of a single image show much that the detector does not see in the whole."""
_LEAST_TILE = 64
"""Minimum side of a tile in pixels; smaller tiles would only magnify blur."""


class Window(NamedTuple):
    """A rectangle of an image in pixels; it may extend beyond the image."""

    x: float
    """Left edge."""
    y: float
    """Top edge."""
    width: float
    height: float
    pixels: int = MOST_PIXELS
    """Approximate size of the detector's input in pixels."""


class View(NamedTuple):
    """A window as the detector sees it."""

    image: np.ndarray
    """(h, w, 3) uint8, sides multiples of 32; black where the window shows nothing."""
    scale: float
    """Pixels of the view per pixel of the source image."""
    origin: np.ndarray
    """(2,) point of the source image at the corner of the view's first pixel, measured from the image's edge."""

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Converts points of the view to the source image.

        Args:
            points: (..., 2) pixels of the view, measured from its edge.

        Returns:
            (..., 2) pixels of the source image, with pixel centres at integer coordinates.
        """
        return points / self.scale + self.origin - 0.5


class WindowSchedule:
    """Decides which window of a stream's images is searched next, so that all of them get their turn.

    Args:
        with_tiles: Whether to search tiles or only the whole image.
    """

    def __init__(self, with_tiles: bool):
        self._with_tiles = with_tiles
        self._next = 0

    def reset(self) -> None:
        """Starts with the first window again."""
        self._next = 0

    def of_still(self, image: np.ndarray) -> tuple[list[Window], list[Window]]:
        """Returns the windows of a single (H, W, 3) image: the whole image, and the tiles of a large one.

        The smallest tiles are left out: a search for hands that are so far away would take most of the time.
        """
        height, width = image.shape[:2]
        side = max(width, height)
        parts = [tile for tile in tiles(width, height) if 2 * tile.width >= side] if side >= _LARGE_IMAGE else []
        return whole(width, height), parts if self._with_tiles else []

    def following(self, image: np.ndarray, whole_first: bool) -> Iterator[Window]:
        """Yields each window of an (H, W, 3) image once.

        The whole image, at its fine and its coarse scale in turn, alternates with the tiles. The order continues where
        the last image's search stopped.

        Args:
            image: Image to search.
            whole_first: Whether to start with the whole image at both scales, as after a hand was lost.
        """
        height, width = image.shape[:2]
        wholes = whole(width, height)
        parts = tiles(width, height) if self._with_tiles else []
        seen = set()
        if whole_first:
            seen.update(wholes)
            yield from wholes
        for _ in range(2 * max(len(parts), 1)):
            is_odd, turn = self._next % 2, self._next // 2
            self._next += 1
            window = parts[turn % len(parts)] if is_odd and parts else wholes[(turn + is_odd) % 2]
            if window not in seen:
                seen.add(window)
                yield window


def whole(width: int, height: int) -> list[Window]:
    """Returns the whole image at a fine and a coarse scale."""
    return [Window(0.0, 0.0, float(width), float(height), pixels) for pixels in (MOST_PIXELS, COARSE_PIXELS)]


def tiles(width: int, height: int) -> list[Window]:
    """Returns the tiles of an image.

    Their sides are half, then a quarter of the image's longer side, as long as that leaves enough pixels. Each level is
    shuffled, so that neighbouring tiles are not searched one after the other.
    """
    found = []
    for parts in (2, 4):
        side = max(width, height) / parts
        if side < _LEAST_TILE:
            break
        level = [Window(x, y, side, side) for y in _offsets(height, side) for x in _offsets(width, side)]
        found += [level[i] for i in np.random.default_rng(parts).permutation(len(level))]
    return found


def _offsets(length: float, side: float) -> list[float]:
    """Returns where tiles begin so that they cover a length."""
    if length <= side:
        return [(length - side) / 2]
    count = math.ceil((length - side) / ((1 - _OVERLAP) * side)) + 1
    return np.linspace(0, length - side, count).tolist()


def view(image: np.ndarray, window: Window) -> View:
    """Cuts a window out of an (H, W, 3) uint8 image and scales it to about ``window.pixels``."""
    scale = math.sqrt(window.pixels / (window.width * window.height))
    # The largest size that fits after rounding the sides; long thin images stay narrow.
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
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = max(0, (width - size[0]) // 2), max(0, (height - size[1]) // 2)
    part = part[: height - top, : width - left]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return View(canvas, scale, np.array([x0, y0]) - np.array([left, top]) / scale)
