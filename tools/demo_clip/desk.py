"""The room: a wooden desk with things on it, seen from above, and a wall behind; out of focus. Also where the hands' shadow falls."""

from __future__ import annotations

import cv2
import numpy as np

from wildhands_ros.geometry.camera import Camera

from .noise import fractal

PITCH = np.radians(34)
"""How far the head looks down."""
DESK_DISTANCE = 0.56
"""Metres from the camera down to the desk."""
DESK_FAR = 1.25
"""Metres from the camera to the desk's far edge, along the floor."""
TEXEL = 0.0015
"""Metres on the desk."""

DOWN = np.array([0, np.cos(PITCH), np.sin(PITCH)])
FORWARD = np.array([0, -np.sin(PITCH), np.cos(PITCH)])


class Desk:
    """The background picture, made once, since the camera stands still."""

    def __init__(self, camera: Camera, seed: int):
        rng = np.random.default_rng(seed)
        rays = camera.rays(np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1))
        with np.errstate(divide="ignore"):
            distance = DESK_DISTANCE / (rays @ DOWN)
        hits = (distance > 0) & (distance * (rays @ FORWARD) < DESK_FAR)
        self.points = np.where(hits[..., None], np.nan_to_num(distance, posinf=0)[..., None] * rays, np.nan)
        """(H, W, 3) where the desk is seen, else NaN; metres, camera frame."""
        x, z = rays[..., 0] * distance, rays @ FORWARD * distance
        texture = _desk_texture(rng)
        map_x = ((x + 1.2) / TEXEL).astype(np.float32)
        map_z = (z / TEXEL).astype(np.float32)
        surface = cv2.remap(texture, map_x, map_z, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        light = 0.74 + 0.40 * np.exp(-(((x + 0.45) / 0.9) ** 2) - ((z - 0.75) / 0.7) ** 2)
        wall = _wall(rays, rng)
        picture = np.where(hits[..., None], surface * light[..., None], wall)
        self.picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), camera.width / 320)
        """(H, W, 3) float32 RGB in [0, 1], without the hands' shadow."""


def _desk_texture(rng: np.random.Generator) -> np.ndarray:
    """Seen from above: x from -1.2 to 1.2 m, then away from the camera up to ``DESK_FAR``."""
    height, width = int((DESK_FAR + 0.1) / TEXEL), int(2.4 / TEXEL)
    grain = fractal(rng, height, width, (420, 9), 4)
    rings = np.sin(1.6 * fractal(rng, height, width, (700, 60), 3) * 4)
    boards = np.floor(np.arange(height) * TEXEL / 0.14).astype(int)
    shade = rng.normal(0, 0.025, boards.max() + 1)[boards][:, None]
    wood = np.array([0.60, 0.44, 0.30]) * (1 + 0.055 * grain + 0.04 * rings + shade)[..., None]
    seams = (np.arange(height) * TEXEL) % 0.14 < 0.0022
    wood[seams] *= 0.72

    def pixel(x, z):
        return np.round(np.array([(x + 1.2) / TEXEL, z / TEXEL])).astype(int)

    def slab(x, z, w, h, turn, colour, shadow=0.012):
        box = cv2.boxPoints((tuple(map(float, pixel(x, z))), (w / TEXEL, h / TEXEL), turn)).astype(np.int32)
        dark = np.zeros((height, width), np.float32)
        cv2.fillConvexPoly(dark, box + round(shadow / TEXEL), 0.45, cv2.LINE_AA)
        wood[:] *= 1 - cv2.GaussianBlur(dark, (0, 0), 5)[..., None]
        cv2.fillConvexPoly(wood, box, colour, cv2.LINE_AA)
        return box

    slab(-0.02, 0.66, 0.46, 0.165, 1.5, (0.17, 0.18, 0.20))  # keyboard
    for row in range(5):
        for column in range(15):
            x, z = -0.02 + (column - 7) * 0.0295, 0.66 + (row - 2) * 0.030 + (column - 7) * 0.0007
            slab(x, z, 0.025, 0.025, 1.5, (0.27, 0.28, 0.31), 0.002)
    slab(0.44, 0.62, 0.21, 0.297, -12, (0.90, 0.89, 0.85))  # paper
    for line in range(16):
        start, end = (
            pixel(0.375, 0.52 + line * 0.013),
            pixel(0.375 + rng.uniform(0.09, 0.15), 0.52 + line * 0.013 - 0.02),
        )
        cv2.line(wood, start.tolist(), end.tolist(), (0.55, 0.55, 0.58), 1, cv2.LINE_AA)
    slab(-0.50, 0.70, 0.19, 0.25, 9, (0.16, 0.31, 0.36))  # notebook
    slab(-0.50, 0.70, 0.16, 0.05, 9, (0.75, 0.72, 0.62), 0.0)
    slab(0.22, 0.86, 0.075, 0.15, 20, (0.08, 0.08, 0.10))  # telephone
    cv2.circle(wood, pixel(-0.30, 0.98).tolist(), round(0.055 / TEXEL), (0.30, 0.22, 0.16), -1, cv2.LINE_AA)
    cv2.circle(wood, pixel(-0.30, 0.98).tolist(), round(0.042 / TEXEL), (0.78, 0.33, 0.22), -1, cv2.LINE_AA)
    cv2.circle(wood, pixel(-0.30, 0.98).tolist(), round(0.036 / TEXEL), (0.20, 0.11, 0.06), -1, cv2.LINE_AA)
    return wood.astype(np.float32).clip(0, 1)


def _wall(rays: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A pale wall with a bright window and shelves, by direction."""
    height, width = rays.shape[:2]
    side = np.arctan2(rays[..., 0], rays @ FORWARD)
    up = np.arctan2(-(rays @ DOWN), rays @ FORWARD)
    wall = np.array([0.66, 0.67, 0.66]) * (0.86 + 0.10 * np.exp(-(((side + 0.5) / 0.5) ** 2)))[..., None]
    wall = wall + 0.008 * fractal(rng, height, width, (60, 60))[..., None]
    for left, right, low, high, colour in (
        (-0.62, -0.28, -0.24, 0.30, (0.95, 0.97, 1.0)),
        (-0.46, -0.44, -0.24, 0.30, (0.72, 0.72, 0.70)),
        (0.18, 0.62, -0.15, -0.125, (0.42, 0.32, 0.24)),
        (0.24, 0.275, -0.125, 0.02, (0.55, 0.22, 0.20)),
        (0.28, 0.31, -0.125, 0.0, (0.24, 0.34, 0.46)),
        (0.315, 0.36, -0.125, 0.03, (0.70, 0.62, 0.42)),
        (0.365, 0.39, -0.125, -0.01, (0.30, 0.42, 0.30)),
    ):
        wall[(side > left) & (side < right) & (up > low) & (up < high)] = colour
    return wall
