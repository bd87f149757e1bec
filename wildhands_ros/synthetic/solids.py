"""Boxes and solids of revolution, with meshes for drawing and signed distances for placing fingers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit

AROUND = 20
"""Segments of a solid of revolution."""


@dataclass(frozen=True, eq=False)
class Solid:
    """A box, or a profile revolved about the y axis. Local frame, metres."""

    profile: np.ndarray
    """(N, 2) radius and height of a solid of revolution, from its lower to its upper pole.

    (1, 3) half sizes of a box.
    """

    @property
    def is_box(self) -> bool:
        """Whether the solid is a box, not a solid of revolution."""
        return self.profile.shape == (1, 3)

    @property
    def extent(self) -> float:
        """Radius of the smallest ball around the local origin that contains the solid."""
        return float(np.sqrt((self.profile * self.profile).sum(axis=-1).max()))

    def mesh(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns (V, 3) vertices, (F, 3) faces (front counter-clockwise), (V, 3) texture coordinates (metres)."""
        return _box_mesh(self.profile[0]) if self.is_box else _revolved_mesh(self.profile)


@dataclass(frozen=True, eq=False)
class PlacedSolid:
    """A solid in a frame: ``point = rotation @ local + position``."""

    solid: Solid
    rotation: np.ndarray
    position: np.ndarray

    def placed(self, rotation: np.ndarray, position: np.ndarray) -> PlacedSolid:
        """Returns the solid transformed by a further rotation and position."""
        return PlacedSolid(self.solid, rotation @ self.rotation, rotation @ self.position + position)

    @property
    def shape(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Profile, rotation and position: the first arguments of ``distance``."""
        return self.solid.profile, np.ascontiguousarray(self.rotation), self.position


def box(x: float, y: float, z: float) -> Solid:
    """Returns a box of this size."""
    return Solid(np.array([[x / 2, y / 2, z / 2]]))


def cylinder(radius: float, height: float, edge: float = 0.0015) -> Solid:
    """Returns a cylinder along y with rounded edges."""
    edge = min(edge, 0.4 * radius, 0.4 * height)
    half = height / 2
    return Solid(
        np.array(
            [
                (0, -half),
                (radius - edge, -half),
                (radius, edge - half),
                (radius, half - edge),
                (radius - edge, half),
                (0, half),
            ]
        )
    )


def sphere(radius: float, stretch: float = 1.0) -> Solid:
    """Returns a ball, or an ellipsoid that is ``stretch`` times as high."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 13)
    return Solid(np.column_stack([np.maximum(radius * np.cos(angles), 0), stretch * radius * np.sin(angles)]))


def bottle(radius: float, height: float, neck: float, shoulder: float) -> Solid:
    """Returns a bottle.

    ``neck`` is the radius of its neck, ``shoulder`` the share of the height at which it narrows.
    """
    half = height / 2
    low = -half + shoulder * height
    points = [
        (0, -half),
        (radius * 0.92, -half),
        (radius, -half + 0.006),
        (radius, low),
        (0.8 * radius + 0.2 * neck, low + 0.3 * (half - low)),
    ]
    points += [(neck, low + 0.6 * (half - low)), (neck, half - 0.002), (neck * 0.85, half), (0, half)]
    return Solid(np.array(points))


def cone(bottom: float, top: float, height: float) -> Solid:
    """Returns a truncated cone, such as a cup or a lampshade."""
    return Solid(
        np.array(
            [(0, -height / 2), (bottom, -height / 2), (top, height / 2), (0.93 * top, height / 2), (0, height / 2)]
        )
    )


def unit(vector: np.ndarray) -> np.ndarray:
    """Normalises a vector."""
    return vector / max(np.sqrt(vector @ vector), 1e-12)


def cross(a: np.ndarray | list[float], b: np.ndarray | list[float]) -> np.ndarray:
    """Returns the cross product of two vectors, ten times as fast as NumPy for single vectors."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _box_mesh(half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Squares of a few centimetres, because positions are interpolated linearly although lens distortion bends lines.
    vertices, faces, axes = _box_template(*(min(max(math.ceil(size / 0.04), 2), 12) for size in half.tolist()))
    points = vertices * half
    uv = np.zeros_like(points)
    uv[:, 0], uv[:, 1] = np.take_along_axis(points, axes, axis=1).T
    return points, faces, uv


@cache
def _box_template(*steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Builds a box from -1 to 1 with ``steps`` squares along x, y and z.

    Returns vertices, faces, and the (V, 2) axes that run along the side of each vertex.
    """
    vertices, faces, axes, count = [], [], [], 0
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            a, b = np.meshgrid(np.linspace(-1, 1, steps[u] + 1), np.linspace(-1, 1, steps[v] + 1), indexing="ij")
            points = np.empty((a.size, 3))
            points[:, axis], points[:, u], points[:, v] = sign, a.ravel(), b.ravel()
            index = count + np.arange(a.size).reshape(a.shape)
            p, q, r, s = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
            vertices.append(points)
            faces.append(np.stack([p, q, r, p, r, s] if sign > 0 else [p, r, q, p, s, r], axis=-1).reshape(-1, 3))
            axes.append(np.broadcast_to((u, v), (a.size, 2)))
            count += a.size
    return np.concatenate(vertices), np.concatenate(faces).astype(np.int32), np.concatenate(axes)


def _revolved_mesh(profile: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    steps = np.diff(profile, axis=0)
    lengths = np.sqrt((steps * steps).sum(axis=1))
    pieces = np.clip((lengths / 0.03).astype(int), 1, 10)
    start = np.repeat(np.arange(len(pieces)), pieces)
    share = (np.arange(len(start)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 1) / pieces[start]
    fine = np.concatenate([profile[:1], profile[start] + share[:, None] * steps[start]])
    along = np.concatenate([[0], np.cumsum(lengths[start] / pieces[start])])
    circle, faces = _revolved_template(len(fine))
    points = np.empty((len(fine), AROUND + 1, 3))
    points[..., 0], points[..., 1], points[..., 2] = fine[:, :1] * circle[0], fine[:, 1:], fine[:, :1] * circle[1]
    uv = np.zeros_like(points)
    uv[..., 0], uv[..., 1] = _TURN * profile[:, 0].max(), along[:, None]
    return points.reshape(-1, 3), faces, uv.reshape(-1, 3)


_TURN = np.linspace(0, 2 * np.pi, AROUND + 1)  # both ends of the seam, because their texture coordinates differ


@cache
def _revolved_template(rows: int) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(rows * (AROUND + 1)).reshape(rows, AROUND + 1)
    p, q, r, s = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.stack([np.sin(_TURN), np.cos(_TURN)]), np.stack([p, q, r, p, r, s], axis=-1).reshape(-1, 3).astype(
        np.int32
    )


@njit(cache=True, error_model="numpy")
def distance(profile, rotation, position, x, y, z):
    """Returns the signed distance in metres from a point to a placed solid, negative inside."""
    dx, dy, dz = x - position[0], y - position[1], z - position[2]
    lx = rotation[0, 0] * dx + rotation[1, 0] * dy + rotation[2, 0] * dz
    ly = rotation[0, 1] * dx + rotation[1, 1] * dy + rotation[2, 1] * dz
    lz = rotation[0, 2] * dx + rotation[1, 2] * dy + rotation[2, 2] * dz
    if profile.shape[1] == 3:
        qx, qy, qz = abs(lx) - profile[0, 0], abs(ly) - profile[0, 1], abs(lz) - profile[0, 2]
        ox, oy, oz = max(qx, 0.0), max(qy, 0.0), max(qz, 0.0)
        return np.sqrt(ox * ox + oy * oy + oz * oz) + min(max(qx, max(qy, qz)), 0.0)
    r = np.sqrt(lx * lx + lz * lz)
    best, inside = 1e9, False
    for i in range(profile.shape[0] - 1):
        ar, ah, br, bh = profile[i, 0], profile[i, 1], profile[i + 1, 0], profile[i + 1, 1]
        er, eh = br - ar, bh - ah
        t = ((r - ar) * er + (ly - ah) * eh) / max(er * er + eh * eh, 1e-12)
        t = min(max(t, 0.0), 1.0)
        fr, fh = r - ar - t * er, ly - ah - t * eh
        best = min(best, fr * fr + fh * fh)
        if (ah > ly) != (bh > ly) and r < ar + (ly - ah) * er / eh:
            inside = not inside
    return -np.sqrt(best) if inside else np.sqrt(best)
