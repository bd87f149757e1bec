"""Backgrounds: generated rooms, and photographs of installed wallpaper packages.

The wallpaper packages of Debian (plasma-workspace-wallpapers, gnome-backgrounds, mate-backgrounds, ukui-wallpapers,
lomiri-wallpapers) install their images where ``photo_files`` searches. They are read in place and never copied.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .noise import fractal
from .skin import to_linear
from .textures import random_colour

WIDTH, HEIGHT = 480, 360
NUM_ROOMS = 64
"""Number of generated images. Each is used with random rotations and crops."""
PHOTO_FOLDERS = ("wallpapers", "backgrounds")
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")


@lru_cache(maxsize=1)
def photo_files() -> tuple[Path, ...]:
    """Returns the photographs of installed wallpaper packages in one size each, sorted by name."""
    found: dict[str, Path] = {}
    for data in os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":"):
        for folder in PHOTO_FOLDERS:
            for path in sorted((Path(data) / folder).glob("**/*")):
                if path.suffix.lower() in PHOTO_SUFFIXES and "screenshot" not in path.name.lower():
                    # An image comes in many sizes, in a folder named after it.
                    name = (
                        str(path.parent.parent)
                        if path.parent.name in ("images", "images_dark")
                        else str(path.with_suffix(""))
                    )
                    found.setdefault(name, path)
    return tuple(found.values())


@lru_cache(maxsize=2 * NUM_ROOMS)
def room(number: int, plain: bool) -> np.ndarray:
    """Returns the (HEIGHT, WIDTH, 3) uint8 RGB image of a generated room; ``number`` is below ``NUM_ROOMS``."""
    rng = np.random.default_rng([77, number, plain])
    return _plain_wall(rng) if plain else _room(rng)


@lru_cache(maxsize=256)
def photo(number: int) -> np.ndarray:
    """Returns a photograph of ``photo_files`` in about the size of a room, or a room if the file is unreadable."""
    image: np.ndarray | None = cv2.imread(str(photo_files()[number]), cv2.IMREAD_COLOR)
    if image is None:
        return room(number % NUM_ROOMS, False)
    scale = max(WIDTH / image.shape[1], HEIGHT / image.shape[0])
    return cv2.cvtColor(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _gradient(rng: np.random.Generator) -> np.ndarray:
    """Returns (HEIGHT, WIDTH, 1) light that decreases across the image."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    direction = rng.uniform(0, 2 * np.pi)
    along = (np.cos(direction) * (x / WIDTH - 0.5) + np.sin(direction) * (y / HEIGHT - 0.5))[..., None]
    return 1 + rng.uniform(0, 0.9) * along


def _plain_wall(rng: np.random.Generator) -> np.ndarray:
    colour = random_colour(rng, 0.5)
    texture = 1 + rng.uniform(0.02, 0.10) * fractal(rng, HEIGHT, WIDTH, (rng.uniform(20, 300),) * 2)[..., None]
    return _to_srgb(colour * texture * _gradient(rng))


def _room(rng: np.random.Generator) -> np.ndarray:
    """Draws surfaces, blocks, lines and clutter, with random defocus."""
    image = np.empty((HEIGHT, WIDTH, 3), np.float32)
    image[:] = random_colour(rng, 0.6)
    grain = rng.choice([6, 30, 120, 300])
    image *= 1 + rng.uniform(0.03, 0.25) * fractal(rng, HEIGHT, WIDTH, (grain, grain * rng.uniform(0.1, 1)))[..., None]
    horizon = int(HEIGHT * rng.uniform(0.15, 0.8))
    slope = int(rng.normal(0, 40))
    floor = np.array([(0, horizon), (WIDTH, horizon + slope), (WIDTH, HEIGHT), (0, HEIGHT)], np.int32)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillConvexPoly(mask, floor, (1,))
    surface = random_colour(rng, 0.6) * (
        1 + rng.uniform(0.03, 0.2) * fractal(rng, HEIGHT, WIDTH, (rng.uniform(60, 300), rng.uniform(4, 40)))[..., None]
    )
    if rng.random() < 0.4:
        step = rng.uniform(20, 80)
        lines = (np.arange(WIDTH) % step < 2)[None, :, None] | (np.arange(HEIGHT) % (step * rng.uniform(0.5, 2)) < 2)[
            :, None, None
        ]
        surface = surface * np.where(lines, 0.75, 1)
    image = np.where(mask[..., None] > 0, surface, image).astype(np.float32)
    for _ in range(rng.integers(4, 40)):
        _clutter(image, rng)
    image *= _gradient(rng)
    if rng.random() < 0.3:  # a window or a lamp
        centre = rng.uniform(0, 1, 2) * (WIDTH, HEIGHT)
        y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        glow = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * rng.uniform(20, 120) ** 2))
        image += glow[..., None] * rng.uniform(0.4, 1.5)
    sigma = rng.choice([0.6, 1.2, 2.5, 5.0])
    return _to_srgb(cv2.GaussianBlur(np.ascontiguousarray(image, np.float32), (0, 0), float(sigma)))


def _clutter(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draws one textured block, disc, bar or text, with shading and a shadow."""
    size = np.exp(rng.uniform(np.log(10), np.log(170)))
    centre = rng.uniform(0, 1, 2) * (WIDTH, HEIGHT)
    colour = random_colour(rng)
    kind = rng.integers(5)
    if kind == 4:
        text = "".join(rng.choice(list("abcdeghiknorstuv "), 8))
        cv2.putText(
            image,
            text,
            tuple(int(c) for c in centre),
            cv2.FONT_HERSHEY_DUPLEX,
            size / 60,
            colour.tolist(),
            max(1, int(size / 30)),
            cv2.LINE_AA,
        )
        return
    if kind == 0:
        axes = int(size / 2), int(size / 2 * rng.uniform(0.4, 1))
        points = cv2.ellipse2Poly(tuple(int(c) for c in centre), axes, int(rng.uniform(0, 180)), 0, 360, 12)
        corners = np.asarray(points)
    else:
        shape = (size, size * rng.uniform(0.05, 1.2))
        angle = rng.choice([0.0, 90.0, rng.uniform(0, 180)])
        corners = cv2.boxPoints((tuple(map(float, centre)), shape, float(angle))).astype(np.int32)
    x0, y0 = np.maximum(corners.min(axis=0) - 12, 0)
    x1, y1 = np.minimum(corners.max(axis=0) + 12, (WIDTH, HEIGHT))
    if x1 - x0 < 3 or y1 - y0 < 3:
        return
    view = image[y0:y1, x0:x1]
    mask = np.zeros(view.shape[:2], np.float32)
    cv2.fillPoly(mask, [(corners - (x0, y0)).astype(np.int32)], (1.0,), cv2.LINE_AA)
    shadow = cv2.GaussianBlur(np.roll(mask, (4, 3), (0, 1)), (0, 0), 3)
    view *= 1 - 0.4 * shadow[..., None]
    height, width = view.shape[:2]
    texture = 1 + rng.uniform(0, 0.25) * fractal(rng, height, width, (rng.uniform(3, 40), rng.uniform(3, 40)), 3)
    ramp = np.linspace(rng.uniform(0.6, 1.3), rng.uniform(0.6, 1.3), view.shape[1])
    view += mask[..., None] * (colour * (texture * ramp)[..., None] - view)


def mean_light(image: np.ndarray) -> np.ndarray:
    """Returns the (3,) linear mean colour of every 40th pixel."""
    return to_linear(image[20::40, 20::40].reshape(-1, 3)).mean(axis=0)
