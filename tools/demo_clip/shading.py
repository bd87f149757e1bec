"""Light and surfaces: a soft key light with shadows, sky and bounce, skin with a hint of subsurface scattering, knitted cloth."""

from __future__ import annotations

import cv2
import numpy as np

from .desk import DOWN
from .raster import look_up, paint_index
from .skin import Nails, SkinMaps

KEY = np.array([-0.50, -0.72, -0.48]) / np.linalg.norm([-0.50, -0.72, -0.48])
"""Unit direction towards the window, camera frame."""
KEY_COLOUR = np.array([1.0, 0.965, 0.90]) * 0.86
SKY_COLOUR, BOUNCE_COLOUR = np.array([0.44, 0.46, 0.50]), np.array([0.30, 0.24, 0.19])
SHADOW_TEXEL = 0.0012
"""Metres."""


class KeyLight:
    """Soft shadows of one moment's triangles, by a variance shadow map seen from the light."""

    def __init__(self, triangles: np.ndarray):
        """``triangles`` (F, 3, 3) metres."""
        right = np.cross(DOWN, KEY)
        right = right / np.linalg.norm(right)
        self._axes = np.stack([right, np.cross(KEY, right), -KEY])
        local = triangles @ self._axes.T
        self._low = local[..., :2].min(axis=(0, 1)) - 0.06
        size = np.ceil((local[..., :2].max(axis=(0, 1)) + 0.06 - self._low) / SHADOW_TEXEL).astype(int)
        depths = local[..., 2].mean(axis=1)
        index = paint_index((local[..., :2] - self._low) / SHADOW_TEXEL, depths, *size)
        self._far = depths.max() + 1.0
        depth = np.where(index >= 0, depths[index], self._far).astype(np.float32)
        self._mean = cv2.GaussianBlur(depth, (0, 0), 2.2)
        self._square = cv2.GaussianBlur(depth * depth, (0, 0), 2.2)
        self._cover = cv2.GaussianBlur((index >= 0).astype(np.float32), (0, 0), 16)

    def visibility(self, points: np.ndarray) -> np.ndarray:
        """(N,) how much of the light reaches (N, 3) points on the hands; 1 is all."""
        mean, square = self._look_up(points, self._mean, self._far), self._look_up(points, self._square, self._far**2)
        behind = points @ self._axes[2] - 0.003 - mean
        variance = np.maximum(square - mean**2, 2e-5)
        lit = np.where(behind <= 0, 1.0, variance / (variance + np.maximum(behind, 0) ** 2))
        return np.clip((lit - 0.15) / 0.85, 0, 1)

    def desk_shadow(self, points: np.ndarray) -> np.ndarray:
        """(N,) 0 to 1, how much of the key light the hands keep from (N, 3) points far behind them."""
        return self._look_up(points, self._cover, 0.0)

    def _look_up(self, points: np.ndarray, values: np.ndarray, outside: float) -> np.ndarray:
        pixels = (points @ self._axes[:2].T - self._low) / SHADOW_TEXEL
        return look_up(values, pixels, cv2.BORDER_CONSTANT, outside).astype(np.float64)


class SkinSurface:
    """Skin of one hand."""

    def __init__(self, rest: np.ndarray, rest_normals: np.ndarray, joints: np.ndarray, seed: int):
        self._maps = SkinMaps(rest, joints, seed)
        self._nails = Nails(rest, rest_normals, joints)

    def colour(self, rest, rest_normals, normals, turn, points, lit) -> np.ndarray:
        """(N, 3) RGB. ``turn`` (N, 3, 3) takes the rest frame's slopes to the camera frame; the rest as in ``light_up``."""
        albedo, slope = self._maps.sample(rest, rest_normals)
        nail = self._nails.paint(albedo, rest, rest_normals)
        bent = normals - (1 - nail)[:, None] * np.einsum("nij,nj->ni", turn, slope)
        bent /= np.linalg.norm(bent, axis=-1, keepdims=True)
        return light_up(albedo, bent, points, lit, wrap=0.22, gloss=0.16 + 0.35 * nail, sharpness=22 + 60 * nail)


def cloth_colour(
    uv: np.ndarray, normals: np.ndarray, points: np.ndarray, lit: np.ndarray, base: np.ndarray
) -> np.ndarray:
    """(N, 3) RGB of a rib-knit with a ribbed cuff at (N, 2) metres on the cloth."""
    along, around = uv.T
    cuff = np.clip((0.052 - along) / 0.004, 0, 1)
    ribs = np.sin(2 * np.pi * around / 0.0060)
    stitches = np.sin(2 * np.pi * along / 0.0042) * np.sin(2 * np.pi * around / 0.0042)
    albedo = base * (1 + cuff * 0.20 * ribs + (1 - cuff) * 0.13 * stitches)[:, None]
    return light_up(albedo, normals, points, lit, wrap=0.10, gloss=np.zeros(len(uv)), sharpness=np.full(len(uv), 8.0))


def light_up(albedo, normals, points, lit, wrap, gloss, sharpness) -> np.ndarray:
    """(N, 3) RGB in [0, 1] of surfaces with unit ``normals`` at ``points``; ``lit`` (N,) is the key light's visibility.

    ``wrap`` lets light around the terminator, reddened, as skin does.
    """
    view = -points / np.linalg.norm(points, axis=-1, keepdims=True)
    cosine = normals @ KEY
    direct = np.clip(cosine, 0, 1) * lit
    wrapped = np.clip((cosine + wrap) / (1 + wrap), 0, 1) * (0.35 + 0.65 * lit)
    scattered = np.clip(wrapped - direct, 0, 1)[:, None] * np.array([0.62, 0.30, 0.24]) * (wrap / 0.22)
    up = 0.5 - 0.5 * (normals @ DOWN)
    facing = np.clip((normals * view).sum(axis=-1), 0, 1)
    ambient = (SKY_COLOUR * up[:, None] + BOUNCE_COLOUR * (1 - up[:, None])) * (0.72 + 0.28 * facing)[:, None]
    half = KEY + view
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    shine = gloss * np.clip((normals * half).sum(axis=-1), 0, 1) ** sharpness * lit * (cosine > 0)
    return albedo * (KEY_COLOUR * direct[:, None] + KEY_COLOUR * scattered + ambient) + shine[:, None] * KEY_COLOUR


def crevices(depth: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1], darker where near surfaces rise around (Luft et al. 2006): between fingers, behind the thumb."""
    filled = np.where(cover, depth, 0).astype(np.float32)
    weight = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 7)
    nearby = cv2.GaussianBlur(filled, (0, 0), 7) / np.maximum(weight, 1e-6)
    return np.clip(1 - 14 * np.clip(depth - nearby, 0, 0.03), 0.55, 1)
