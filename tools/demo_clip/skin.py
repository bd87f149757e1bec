"""Colour and relief of the skin, painted at rest: one flat map of the palm's side and one of the back, seen along the palm's normal."""

from __future__ import annotations

import cv2
import numpy as np

from wildhands_ros.hand_model.joints import MANO_PARENTS

from .noise import fractal
from .raster import look_up

TEXEL = 0.00025
"""Metres."""
MARGIN = 0.02
PALM_COLOUR, BACK_COLOUR = np.array([0.86, 0.60, 0.49]), np.array([0.80, 0.56, 0.43])
"""Linear-ish RGB albedo."""
BLUSH = np.array([0.05, -0.075, -0.06])
CREASE_TINT = np.array([-0.12, -0.14, -0.13])
NAIL_COLOUR = np.array([0.86, 0.62, 0.55])


class SkinMaps:
    """Textures over the rest pose's x and z; ``sample`` reads them at rest positions."""

    def __init__(self, rest: np.ndarray, joints: np.ndarray, seed: int):
        """``rest`` (V, 3) skin vertices; ``joints`` (21, 3) MANO order, both at rest; metres."""
        rng = np.random.default_rng(seed)
        low, high = rest[:, [0, 2]].min(axis=0) - MARGIN, rest[:, [0, 2]].max(axis=0) + MARGIN
        self._low = low
        width, height = np.ceil((high - low) / TEXEL).astype(int)
        self._joints = joints
        self._to_map = lambda points: (points[..., [0, 2]] - low) / TEXEL
        shape = height, width
        mottling = (
            0.026 * fractal(rng, *shape, (110, 110))[..., None] * (0.6, 1.1, 1.0)
            + 0.010 * fractal(rng, *shape, (14, 14))[..., None]
        )
        blush = self._blobs(shape, (*range(1, 13), 14, 15), 0.0085) + 1.2 * self._blobs(shape, range(16, 21), 0.009)
        veins = np.exp(-((fractal(rng, *shape, (90, 60), 2) / 0.10) ** 2)) * self._back_of_hand(shape)
        fine = 0.5 * fractal(rng, *shape, (5, 5), 2) + 0.5 * fractal(rng, *shape, (12, 12), 2)

        palm_lines = self._palm_creases(shape)
        wrinkles = self._knuckle_wrinkles(shape, rng)
        palm = PALM_COLOUR + mottling + BLUSH * 0.75 * blush[..., None] + CREASE_TINT * palm_lines[..., None]
        back = BACK_COLOUR + mottling + BLUSH * 0.65 * blush[..., None] + CREASE_TINT * 0.40 * wrinkles[..., None]
        back += np.array([-0.05, -0.02, 0.005]) * veins[..., None]
        relief_palm = 0.000018 * fine - 0.00024 * cv2.GaussianBlur(palm_lines, (0, 0), 1.2)
        relief_back = (
            0.000020 * fine
            - 0.00022 * cv2.GaussianBlur(wrinkles, (0, 0), 1.0)
            + 0.00030 * cv2.GaussianBlur(veins, (0, 0), 4)
        )
        self._palm, self._back = (
            self._with_slopes(colour, relief) for colour, relief in ((palm, relief_palm), (back, relief_back))
        )

    def sample(self, rest: np.ndarray, rest_normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) albedo and (N, 3) slope of the relief in the rest frame, at (N, 3) rest positions with rest normals."""
        pixels = self._to_map(rest)
        back = _smoothstep(-0.25, 0.25, rest_normals[:, 1])[:, None]
        mixed = look_up(self._palm, pixels) * (1 - back) + look_up(self._back, pixels) * back
        # Seen along y, the sides of the fingers stretch the relief.
        slope = np.stack([mixed[:, 3], np.zeros(len(mixed)), mixed[:, 4]], axis=-1) * np.abs(rest_normals[:, 1:2])
        return mixed[:, :3], slope

    def _with_slopes(self, colour: np.ndarray, relief: np.ndarray) -> np.ndarray:
        """(H, W, 5) float32: colour and the relief's slope along x and z."""
        dz, dx = np.gradient(relief / TEXEL)
        return np.concatenate([colour.clip(0.02, 1), dx[..., None], dz[..., None]], axis=-1).astype(np.float32)

    def _blobs(self, shape: tuple[int, int], joints, radius: float) -> np.ndarray:
        grid = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1)
        centres = self._to_map(self._joints[list(joints)])
        distances = np.stack([((grid - centre) ** 2).sum(axis=-1) for centre in centres]) * TEXEL**2
        return np.exp(-distances / (2 * radius**2)).max(axis=0).astype(np.float32)

    def _back_of_hand(self, shape: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(shape, np.float32)
        outline = self._to_map(self._joints[[0, 1, 4, 10, 7]])
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline).astype(np.int32)), 1.0)
        return cv2.GaussianBlur(mask, (0, 0), 20)

    def _across(self, joint: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Map position of a finger joint, and unit map directions along and across the finger."""
        parent = MANO_PARENTS[joint] if MANO_PARENTS[joint] > 0 else 0
        here, before = self._to_map(self._joints[[joint, parent]])
        along = (here - before) / np.linalg.norm(here - before)
        return here, along, np.array([-along[1], along[0]])

    def _palm_creases(self, shape: tuple[int, int]) -> np.ndarray:
        lines = np.zeros(shape, np.float32)
        for joint in (2, 3, 5, 6, 8, 9, 11, 12, 14, 15):
            here, along, across = self._across(joint)
            for offset, strength in ((-0.0006, 1.0), (0.0012, 0.55)):
                self._curve(
                    lines, here + offset / TEXEL * along, across * 0.0085 / TEXEL, along * 0.0008 / TEXEL, strength, 2
                )
        for joint in (1, 4, 7, 10):
            here, along, across = self._across(joint)
            base = here + (self._to_map(self._joints[joint + 1]) - here) * 0.52
            self._curve(lines, base, across * 0.0095 / TEXEL, along * 0.0006 / TEXEL, 0.9, 2)
        # Heart, head and life lines, between fractions of the palm: (from wrist to knuckle, from index to little finger).
        for points in (
            ((0.84, 1.05), (0.78, 0.75), (0.80, 0.45), (0.92, 0.22)),
            ((0.76, -0.08), (0.72, 0.20), (0.62, 0.55), (0.50, 0.90)),
            ((0.76, -0.10), (0.62, 0.16), (0.42, 0.30), (0.14, 0.34)),
        ):
            self._polyline(lines, [self._palm_point(*point) for point in points], 0.75)
        return cv2.GaussianBlur(lines, (0, 0), 1.6) * 1.5

    def _palm_point(self, up: float, over: float) -> np.ndarray:
        wrist, index, pinky = self._to_map(self._joints[[0, 1, 7]])
        return wrist + up * (index + over * (pinky - index) - wrist)

    def _knuckle_wrinkles(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        lines = np.zeros(shape, np.float32)
        for joint, reach in [(j, 0.0042) for j in (2, 5, 8, 11, 14)] + [(j, 0.0022) for j in (3, 6, 9, 12, 15)]:
            here, along, across = self._across(joint)
            for offset in np.arange(-reach, reach + 1e-6, 0.0014):
                bow = along * np.sign(offset + 1e-9) * 0.0012 / TEXEL
                strength = (1 - 0.55 * abs(offset) / reach) * rng.uniform(0.6, 1.0)
                self._curve(
                    lines, here + offset / TEXEL * along, across * rng.uniform(0.0045, 0.0065) / TEXEL, bow, strength, 1
                )
        return cv2.GaussianBlur(lines, (0, 0), 1.1) * 1.3

    @staticmethod
    def _curve(
        canvas: np.ndarray, middle: np.ndarray, half: np.ndarray, bow: np.ndarray, strength: float, width: int
    ) -> None:
        t = np.linspace(-1, 1, 17)[:, None]
        points = middle + t * half + bow * (1 - t**2)
        layer = np.zeros_like(canvas)
        cv2.polylines(layer, [np.round(points * 16).astype(np.int32)], False, strength, width, cv2.LINE_AA, 4)
        np.maximum(canvas, layer, out=canvas)

    @staticmethod
    def _polyline(canvas: np.ndarray, points: list[np.ndarray], strength: float) -> None:
        t = np.linspace(0, 1, 40)
        p = np.array(points)
        # A cubic Bezier through the middle is near enough to the line of a palm.
        weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=-1)
        layer = np.zeros_like(canvas)
        cv2.polylines(layer, [np.round(weights @ p * 16).astype(np.int32)], False, strength, 2, cv2.LINE_AA, 4)
        np.maximum(canvas, layer, out=canvas)


class Nails:
    """The five nails, as patches around points of the rest surface."""

    def __init__(self, rest: np.ndarray, rest_normals: np.ndarray, joints: np.ndarray):
        self._frames = []
        for first, tip in ((13, 16), (1, 17), (4, 18), (10, 19), (7, 20)):
            end = joints[first + 2]
            along = joints[tip] - end
            length = np.linalg.norm(along)
            along = along / length
            # The nail looks away from where the finger bends to: up, except the thumb's.
            up = np.array([0.0, 1.0, 0.0]) if first != 13 else _thumb_back(joints, along)
            up = up - up @ along * along
            up = up / np.linalg.norm(up)
            centre_line = end + (0.62 if first != 13 else 0.56) * length * along
            near = np.linalg.norm(rest - centre_line, axis=-1) < 0.012
            facing = near & (rest_normals @ up > 0.8)
            centre = rest[facing].mean(axis=0) if facing.any() else centre_line
            size = 0.0054 if first != 13 else 0.0064
            self._frames.append((centre, along, np.cross(up, along), up, size * (0.8 if first == 7 else 1.0)))

    def paint(self, albedo: np.ndarray, rest: np.ndarray, rest_normals: np.ndarray) -> np.ndarray:
        """Colours the nails into (N, 3) ``albedo`` in place; returns (N,) in [0, 1], how much of each point is nail."""
        gloss = np.zeros(len(rest))
        for centre, along, across, up, size in self._frames:
            close = np.flatnonzero((np.abs(rest - centre) < 0.016).all(axis=-1))
            local = rest[close] - centre
            u, v = local @ along / (size * 1.15), local @ across / size
            radius = (np.abs(u) ** 2.6 + np.abs(v) ** 2.6) ** (1 / 2.6)
            faces_up = rest_normals[close] @ up > 0.1
            nail = (1 - _smoothstep(0.92, 1.04, radius)) * faces_up
            rim = np.exp(-(((radius - 1.05) / 0.10) ** 2)) * faces_up
            white_end, moon = _smoothstep(0.72, 0.86, u), _smoothstep(-0.62, -0.80, u)
            colour = NAIL_COLOUR + np.array([0.03, 0.07, 0.07]) * np.maximum(white_end, 0.6 * moon)[:, None]
            albedo[close] += nail[:, None] * (colour - albedo[close]) - 0.09 * rim[:, None]
            gloss[close] = np.maximum(gloss[close], nail)
        return gloss


def _thumb_back(joints: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The thumb's nail looks away from the palm's middle, half turned towards the index finger's side."""
    palm_middle = joints[[0, 1, 4, 7]].mean(axis=0)
    outward = joints[15] - palm_middle
    return np.array([0.0, 0.75, 0.0]) + 0.65 * outward / np.linalg.norm(outward)


def _smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
