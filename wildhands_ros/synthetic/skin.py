"""Skin of the open hand: maps of its features, and tones.

The maps are two images of the right hand at rest, one of the palm and one of the back, seen along the normal of the
palm. Colours are computed from them when rendering, so one set of maps serves all tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from ..hand_model.asset import HandAsset, joints_linear, open_hand
from ..hand_model.joints import MANO_PARENTS
from ..types import Side
from .noise import fractal
from .raster import rasterise, vertex_normals
from .shading import SKIN_CHANNELS

TEXEL = 0.0005
"""Metres."""
MARGIN = 0.012
FINGER_CHAINS = ((13, 16), (1, 17), (4, 18), (10, 19), (7, 20))
"""First joint and tip of thumb, index, middle, ring, pinky; MANO order."""
THUMB_BACK = np.array([0.43, 0.72, 0.54])
"""Direction that the nail of the thumb faces at rest."""
RELIEF = 250.0
"""Slopes are stored as 0.5 + slope * RELIEF / 255."""

TONES = np.array(
    [(243, 208, 190), (230, 184, 160), (212, 160, 130), (186, 130, 100), (150, 98, 70), (110, 70, 48), (74, 48, 35)],
    dtype=np.float64,
)
"""sRGB colours of the back of the hand, from light to dark."""


def to_linear(srgb: np.ndarray | Sequence[float]) -> np.ndarray:
    """Converts sRGB 0..255 to linear light 0..1."""
    return (np.asarray(srgb, dtype=np.float64) / 255) ** 2.2


def skin_tone(share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns random linear colours of back and palm; ``share`` goes from 0 (light) to 1 (dark)."""
    place = np.clip(share, 0, 1) * (len(TONES) - 1)
    low = min(int(place), len(TONES) - 2)
    srgb = TONES[low] + (place - low) * (TONES[low + 1] - TONES[low])
    srgb = np.clip(srgb * (1 + rng.normal(0, 0.03, 3)), 20, 250)
    # Palms are redder, and much lighter in dark skin.
    light = 0.12 + 0.55 * max(share - 0.35, 0)
    palm = srgb + light * (np.array([235, 175, 155]) - srgb)
    return to_linear(srgb), to_linear(palm)


class SkinMaps:
    """Skin maps of a right hand at rest."""

    def __init__(self, asset: HandAsset, seed: int = 3):
        rng = np.random.default_rng(seed)
        rest = asset.v_template.astype(np.float64)
        normals = vertex_normals(rest, asset.faces).astype(np.float64)
        self._joints = joints_linear(asset)[0]
        self._low = rest[:, [0, 2]].min(axis=0) - MARGIN
        width, height = np.ceil((rest[:, [0, 2]].max(axis=0) + MARGIN - self._low) / TEXEL).astype(int)
        shape = height, width
        veins = np.exp(-((fractal(rng, *shape, (60, 34), 2) / 0.12) ** 2)) * self._back_of_hand(shape)
        fine = fractal(rng, *shape, (6, 6), 3)
        blush = self._blobs(shape, (*range(1, 13), 14, 15), 0.0085) + 1.2 * self._blobs(shape, range(16, 21), 0.009)
        maps = np.zeros((2, *shape, SKIN_CHANNELS), np.float32)
        for side, creases, depth in (
            (0, self._palm_creases(shape), 0.00030),
            (1, self._knuckle_wrinkles(shape, rng), 0.00024),
        ):
            relief = 0.000035 * fine - depth * cv2.GaussianBlur(creases, (0, 0), 0.8)
            if side == 1:
                relief += 0.00030 * cv2.GaussianBlur(veins, (0, 0), 2)
            slope_v, slope_u = np.gradient(relief / TEXEL)
            maps[side, ..., 0] = creases
            maps[side, ..., 1] = np.clip(blush, 0, 1.2) / 1.2
            maps[side, ..., 3] = veins if side == 1 else 0
            maps[side, ..., 4] = 0.5 + slope_u * RELIEF / 255
            maps[side, ..., 5] = 0.5 + slope_v * RELIEF / 255
        maps[1, ..., 2], maps[1, ..., 6] = self._nails(rest, normals, asset.faces, shape)
        self.maps = np.round(255 * maps.clip(0, 1)).astype(np.uint8)
        """(2, H, W, SKIN_CHANNELS) uint8: palm, back; rows along z, columns along x."""
        self.frame = np.array([*self._low, 1 / TEXEL])
        """x and z of the first texel, texels per metre."""
        self.uvw = np.column_stack([rest[:, 0], rest[:, 2], _smoothstep(-0.25, 0.25, normals[:, 1])]).astype(np.float32)
        """(V, 3) texture coordinates of each vertex, and which map it uses: 0 palm, 1 back."""

    def _to_map(self, points: np.ndarray) -> np.ndarray:
        return (points[..., [0, 2]] - self._low) / TEXEL

    def _blobs(self, shape: tuple[int, int], joints, radius: float) -> np.ndarray:
        grid = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1)
        squares = np.stack([((grid - centre) ** 2).sum(axis=-1) for centre in self._to_map(self._joints[list(joints)])])
        return np.exp(-squares * TEXEL**2 / (2 * radius**2)).max(axis=0).astype(np.float32)

    def _back_of_hand(self, shape: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(shape, np.float32)
        cv2.fillConvexPoly(
            mask, cv2.convexHull(np.round(self._to_map(self._joints[[0, 1, 4, 10, 7]])).astype(np.int32)), (1.0,)
        )
        return cv2.GaussianBlur(mask, (0, 0), 10)

    def _finger_at(self, joint: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the place of a finger joint in the map, and one metre along and across its finger."""
        here, before = self._to_map(self._joints[[joint, MANO_PARENTS[joint]]])
        along = (here - before) / np.linalg.norm(here - before) / TEXEL
        return here, along, np.array([-along[1], along[0]])

    def _palm_creases(self, shape: tuple[int, int]) -> np.ndarray:
        lines = np.zeros(shape, np.float32)
        for joint in (2, 3, 5, 6, 8, 9, 11, 12, 14, 15):
            here, along, across = self._finger_at(joint)
            for offset, strength in ((-0.0006, 1.0), (0.0012, 0.55)):
                _curve(lines, here + offset * along, across * 0.0085, along * 0.0008, strength)
        for joint in (1, 4, 7, 10):
            here, along, across = self._finger_at(joint)
            _curve(
                lines,
                here + (self._to_map(self._joints[joint + 1]) - here) * 0.52,
                across * 0.0095,
                along * 0.0006,
                0.9,
            )
        wrist, index, pinky = self._to_map(self._joints[[0, 1, 7]])
        # Heart, head and life lines, in shares of the palm: (from wrist to knuckle, from index to little finger).
        for controls in (
            ((0.84, 1.05), (0.78, 0.75), (0.80, 0.45), (0.92, 0.22)),
            ((0.76, -0.08), (0.72, 0.20), (0.62, 0.55), (0.50, 0.90)),
            ((0.76, -0.10), (0.62, 0.16), (0.42, 0.30), (0.14, 0.34)),
        ):
            _line(
                lines,
                _bezier(np.array([wrist + up * (index + over * (pinky - index) - wrist) for up, over in controls])),
                0.75,
            )
        return cv2.GaussianBlur(lines, (0, 0), 1.0) * 1.7

    def _knuckle_wrinkles(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        lines = np.zeros(shape, np.float32)
        for joint, reach in [(j, 0.0042) for j in (2, 5, 8, 11, 14)] + [(j, 0.0022) for j in (3, 6, 9, 12, 15)]:
            here, along, across = self._finger_at(joint)
            for offset in np.arange(-reach, reach + 1e-6, 0.0014):
                strength = (1 - 0.55 * abs(offset) / reach) * rng.uniform(0.6, 1.0)
                bow = along * np.sign(offset + 1e-9) * 0.0012
                _curve(lines, here + offset * along, across * rng.uniform(0.0045, 0.0065), bow, strength)
        return cv2.GaussianBlur(lines, (0, 0), 0.9) * 1.6

    def _nails(
        self, rest: np.ndarray, normals: np.ndarray, faces: np.ndarray, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the nails and the white of their ends, for the map of the back."""
        height, width = shape
        # Seen from above, with x to the right and z down, the viewing direction -y makes the frame right-handed.
        index, nearest = rasterise(self._to_map(rest), rest[:, 1].copy(), faces, width, height)
        if (index >= 0).mean() < 0.05:
            raise ValueError(
                "the back of the hand is not visible from above: the hand model is not in the rest pose of HandAsset"
            )
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) * TEXEL + self._low
        points = np.stack([grid[..., 0], np.where(index >= 0, nearest, 0), grid[..., 1]], axis=-1)
        nails, whites = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for first, tip in FINGER_CHAINS:
            thumb = first == 13
            end = self._joints[first + 2]
            along = self._joints[tip] - end
            length = np.linalg.norm(along)
            along = along / length
            up = THUMB_BACK if thumb else np.array([0.0, 1.0, 0.0])
            up = up - up @ along * along
            up = up / np.linalg.norm(up)
            middle = end + (0.58 if thumb else 0.64) * length * along
            facing = (np.linalg.norm(rest - middle, axis=-1) < 0.012) & (normals @ up > 0.8)
            centre = rest[facing].mean(axis=0) if facing.any() else middle
            size = (0.0064 if thumb else 0.0054) * (0.8 if first == 7 else 1.0)
            local = points - centre
            u, v = local @ along / (size * 1.15), local @ np.cross(up, along) / size
            radius = (np.abs(u) ** 2.6 + np.abs(v) ** 2.6) ** (1 / 2.6)
            nail = (1 - _smoothstep(0.92, 1.04, radius)) * (index >= 0) * (np.abs(local @ up) < 0.006)
            nails = np.maximum(nails, nail)
            whites = np.maximum(
                whites, nail * np.maximum(_smoothstep(0.72, 0.86, u), 0.5 * _smoothstep(-0.62, -0.80, u))
            )
        return nails, whites


@cache
def skin_maps() -> SkinMaps:
    """Returns the skin maps of the open hand."""
    return SkinMaps(open_hand(Side.RIGHT))


def _curve(canvas: np.ndarray, middle: np.ndarray, half: np.ndarray, bow: np.ndarray, strength: float) -> None:
    t = np.linspace(-1, 1, 17)[:, None]
    _line(canvas, middle + t * half + bow * (1 - t**2), strength)


def _line(canvas: np.ndarray, points: np.ndarray, strength: float) -> None:
    layer = np.zeros_like(canvas)
    cv2.polylines(layer, [np.round(points * 16).astype(np.int32)], False, (strength,), 1, cv2.LINE_AA, 4)
    np.maximum(canvas, layer, out=canvas)


def _bezier(controls: np.ndarray) -> np.ndarray:
    t = np.linspace(0, 1, 40)
    return np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=-1) @ controls


def _smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
