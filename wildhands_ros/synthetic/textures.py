"""Repeating textures for objects, cloth and tables, generated from noise, and materials that use them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from .noise import fractal
from .shading import MATERIAL_COLUMNS, PALETTE, SKIN
from .skin import skin_tone, to_linear

SIZE = 128
PLAIN, WOOD, STRIPES, CHECKS, SPOTS, LABEL, BRUSHED, KNIT, WEAVE, LEATHER, MARBLE, MOTTLE = range(12)
OBJECT_TEXTURES = (PLAIN, PLAIN, WOOD, STRIPES, CHECKS, SPOTS, LABEL, LABEL, BRUSHED, MARBLE, LEATHER)
GLOSSES, SHARPNESSES = (0.02, 0.1, 0.3, 0.6), (8.0, 25.0, 80.0)
CLOTH_TEXTURES = (KNIT, WEAVE, KNIT, STRIPES, WEAVE, CHECKS)


@cache
def texture_bank() -> np.ndarray:
    """Returns one repeat of each texture.

    Returns:
        (T, SIZE, SIZE, 5) uint8: share of the second colour, share of the third colour, fine noise, slope along u and
        along v.
    """
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    turn = 2 * np.pi

    def noise(cell, octaves=4, aspect=1.0):
        return fractal(rng, SIZE, SIZE, (cell, cell * aspect), octaves, tiles=True)

    first, second, relief = np.zeros((12, SIZE, SIZE)), np.zeros((12, SIZE, SIZE)), np.zeros((12, SIZE, SIZE))
    first[PLAIN] = 0.5 + 0.15 * noise(64)
    first[WOOD] = 0.5 + 0.25 * np.sin(3 * noise(16, 3, 8.0)) + 0.2 * noise(4, 3, 10.0)
    relief[WOOD] = 0.3 * noise(4, 3, 10.0)
    first[STRIPES] = np.sin(turn * 6 * x) > 0.2
    first[CHECKS] = 0.5 * (np.sin(turn * 4 * x) > 0) + 0.5 * (np.sin(turn * 4 * y) > 0)
    second[CHECKS] = (np.sin(turn * 4 * x + 2) > 0.97) | (np.sin(turn * 4 * y + 2) > 0.97)
    first[SPOTS] = (np.sin(turn * 5 * x) * np.sin(turn * 5 * y)) > 0.45
    first[LABEL] = (np.abs(y - 0.5) < 0.28).astype(float)
    second[LABEL] = _print(rng)
    first[BRUSHED] = 0.5 + 0.2 * noise(3, 2, 30.0)
    relief[BRUSHED] = 0.4 * noise(3, 2, 30.0)
    rows = np.abs(np.sin(turn * 16 * x))
    relief[KNIT] = 2.0 * rows * (0.7 + 0.3 * np.sin(turn * 32 * y + np.pi * (x * 32 % 2 > 1)))
    first[KNIT] = 0.75 * (1 - rows) + 0.1 * noise(30)
    weave = np.where(
        (np.floor(x * 40) + np.floor(y * 40)) % 2 > 0, np.abs(np.sin(turn * 20 * x)), np.abs(np.sin(turn * 20 * y))
    )
    relief[WEAVE], first[WEAVE] = 0.8 * weave, 0.5 * (1 - weave) + 0.15 * noise(40)
    cracks = np.abs(noise(14, 3))
    relief[LEATHER], first[LEATHER] = (
        0.9 * np.minimum(cracks, 0.6),
        0.5 * np.exp(-((cracks / 0.15) ** 2)) + 0.15 * noise(40),
    )
    first[MARBLE] = np.exp(-((noise(60) / 0.15) ** 2))
    second[MARBLE] = np.clip(0.5 * noise(20), 0, 1)
    first[MOTTLE] = 0.5 + 0.18 * noise(64, 5)
    bank = np.empty((12, SIZE, SIZE, 5))
    for k in range(12):
        slope_v, slope_u = ((np.roll(relief[k], -1, axis) - np.roll(relief[k], 1, axis)) / 2 for axis in (0, 1))
        fine = 0.5 + 0.16 * noise(4, 2)
        bank[k] = np.stack([first[k], second[k], fine, 0.5 + 0.5 * slope_u, 0.5 + 0.5 * slope_v], axis=-1)
    return np.round(255 * bank.clip(0, 1)).astype(np.uint8)


def _print(rng: np.random.Generator) -> np.ndarray:
    """Draws letters and a disc, as on packages."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    for row in range(3):
        word = "".join(rng.choice(list("ABDEGHKMNORSTUXZ0358"), 5))
        cv2.putText(image, word, (14, 52 + 18 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255,), 2, cv2.LINE_AA)
    cv2.circle(image, (104, 60), 14, (255,), -1, cv2.LINE_AA)
    return image / 255.0


def random_colour(rng: np.random.Generator, vivid: float = 1.0) -> np.ndarray:
    """Returns a (3,) linear colour; greys and browns are more frequent than saturated colours."""
    hue, saturation = rng.uniform(0, 180), rng.beta(1.2, 2.0) * 255 * vivid % 256
    value = rng.uniform(30, 250)
    rgb = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return to_linear(rgb)


def plain_material(
    rng: np.random.Generator, textures: tuple[int, ...], repeat: float, cloth: bool, vivid: float = 1.0
) -> np.ndarray:
    """Returns a random material of an object or cloth.

    Args:
        rng: Source of random numbers.
        textures: Textures to choose from.
        repeat: Metres after which the texture repeats.
        cloth: Whether the material is cloth: less gloss, more relief, similar colours.
        vivid: Factor on the saturation.
    """
    row = np.zeros(MATERIAL_COLUMNS)
    row[0], row[1], row[2] = PALETTE, textures[rng.integers(len(textures))], 1 / repeat
    base = random_colour(rng, vivid)
    row[3:6] = base
    row[6:9] = base * rng.uniform(0.35, 1.0) if cloth or rng.random() < 0.5 else random_colour(rng, vivid)
    row[9:12] = random_colour(rng, vivid)
    row[12] = 0.0 if row[1] == LABEL else rng.uniform(0.2, 1.0) * (0.6 if cloth else 0.25)
    row[13], row[14] = (
        (rng.uniform(0, 0.03), 6.0) if cloth else (GLOSSES[rng.integers(4)], SHARPNESSES[rng.integers(3)])
    )
    row[15] = 0.10 if cloth else 0.0
    row[16] = rng.uniform(0.1, 0.6)
    return row


def palette_material(
    texture: int,
    repeat: float,
    colours: Sequence[np.ndarray],
    *,
    relief: float = 0.0,
    gloss: float = 0.0,
    sharpness: float = 8.0,
    wrap: float = 0.0,
    grain: float = 0.1,
) -> np.ndarray:
    """Returns a material with given colours.

    Args:
        texture: Index in ``texture_bank``.
        repeat: Metres after which the texture repeats.
        colours: One to three (3,) linear colours; missing ones are the last.
        relief: Strength of the relief.
        gloss: Strength of the highlight.
        sharpness: Exponent of the highlight.
        wrap: How far light wraps around.
        grain: Strength of the fine noise.
    """
    row = np.zeros(MATERIAL_COLUMNS)
    row[0], row[1], row[2] = PALETTE, texture, 1 / repeat
    row[3:6], row[6:9], row[9:12] = [*colours, colours[-1], colours[-1]][:3]
    row[12], row[13], row[14], row[15], row[16] = relief, gloss, sharpness, wrap, grain
    return row


def skin_material(rng: np.random.Generator, tone: float) -> np.ndarray:
    """Returns a random skin material; ``tone`` goes from 0 (light) to 1 (dark)."""
    row = np.zeros(MATERIAL_COLUMNS)
    back, palm = skin_tone(tone, rng)
    row[0], row[1], row[2] = SKIN, MOTTLE, 1 / rng.uniform(0.05, 0.09)
    row[3:6], row[6:9] = back, palm
    row[9] = rng.uniform(0.3, 1.4) * (1 - 0.5 * tone)
    row[10] = rng.uniform(0.2, 0.6)
    row[11] = rng.uniform(0, 0.9) * (1 - 0.6 * tone)
    row[12] = rng.uniform(0.4, 1.3)
    row[13], row[14] = rng.uniform(0.02, 0.16), rng.uniform(10, 35)
    row[15] = rng.uniform(0.15, 0.3)
    nail = palm + 0.35 * (to_linear(np.array([235, 180, 165])) - palm)
    if rng.random() < 0.10:
        nail = random_colour(rng, 1.6)  # varnish
    row[16:19], row[19] = nail, rng.uniform(0.15, 0.6)
    row[20] = rng.uniform(0.05, 0.45)
    return row


def glove_material(rng: np.random.Generator) -> np.ndarray:
    """Returns a random material of a rubber, leather or knitted glove."""
    kind = rng.integers(3)
    if kind == 0:
        row = plain_material(rng, (PLAIN,), 0.1, cloth=True)
        row[3:6] = to_linear(
            [(60, 110, 190), (240, 240, 238), (35, 35, 40), (90, 150, 110), (235, 205, 60), (150, 90, 160)][
                rng.integers(6)
            ]
        )
        row[6:9] = 0.9 * row[3:6]
        row[12], row[13], row[14] = 0.0, rng.uniform(0.05, 0.35), rng.uniform(10, 40)
    elif kind == 1:
        row = plain_material(rng, (LEATHER,), 0.05, cloth=True, vivid=0.6)
        row[13], row[14] = rng.uniform(0.03, 0.2), 14.0
    else:
        row = plain_material(rng, CLOTH_TEXTURES, rng.uniform(0.02, 0.06), cloth=True)
    return row
