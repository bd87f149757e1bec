"""One moment of the world, ready to be drawn: hands with what they hold, table, clutter, light, camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera
from .raster import rasterise, vertex_normals
from .solids import cross

SHADOW_SIZE = 160


@dataclass(frozen=True, eq=False)
class Geometry:
    """All triangles; V vertices, F faces, M materials."""

    positions: np.ndarray
    """(V, 3) float64 metres, camera frame."""
    normals: np.ndarray
    """(V, 3) float32 unit."""
    uvw: np.ndarray
    """(V, 3) float32"""
    faces: np.ndarray
    """(F, 3) int32"""
    face_material: np.ndarray
    """(F,) uint8"""
    face_part: np.ndarray
    """(F,) uint8: 1 + the hand's number on hands, 0 elsewhere."""
    materials: np.ndarray
    """(M, MATERIAL_COLUMNS) float64"""
    num_casters: int
    """The first so many faces throw shadows."""


@dataclass(frozen=True, eq=False)
class Photography:
    """What the camera adds."""

    gains: np.ndarray
    """(3,) exposure and white balance."""
    read_noise: float
    """Standard deviation in grey levels, and that of light grey over dark."""
    shot_noise: float
    motion: np.ndarray
    """(2,) pixels of the frame over which the picture smears."""
    hands_move: bool
    """The smear is of the hands alone."""
    defocus: float
    """Standard deviation in pixels of the frame."""
    background_defocus: float
    jpeg_quality: int
    """0: none."""
    noise_seed: int


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that ``render`` needs."""

    index: int
    camera: Camera
    egocentric: bool
    hands: tuple[LabelledHand, ...]
    """With the open hand's parameters, keypoints that are NaN where the lens does not see them, and boxes of the whole mesh, clipped to
    the frame; masks and visibility are only known once the scene is rendered."""
    geometry: Geometry
    light: np.ndarray
    """(LIGHT_COLUMNS,)"""
    background: np.ndarray
    """(h, w, 3) uint8"""
    background_affine: np.ndarray
    """(2, 3) from its pixels to the frame's."""
    photography: Photography

    @cached_property
    def shadow(self) -> tuple[np.ndarray, np.ndarray]:
        """The nearest surfaces as the key light sees them, and the (12,) map of points into that picture: three rows, three offsets.

        The (3, S, S) picture holds nearness, and its greatest and least values around.
        """
        joints = np.concatenate([hand.joints for hand in self.hands]) if self.hands else self.geometry.positions
        centre = joints.mean(axis=0)
        reach = min(float(np.linalg.norm(joints - centre, axis=-1).max()) + 0.05, 0.30)
        light = self.light[:3]
        side = cross(light, [0.0, 1, 0] if abs(light[1]) < 0.9 else [1.0, 0, 0])
        side = side / np.linalg.norm(side)
        rows = np.stack([side, cross(side, light), light])
        scale = SHADOW_SIZE / (2 * reach)
        rows[:2] *= scale
        offsets = -rows @ centre + np.array([SHADOW_SIZE / 2, SHADOW_SIZE / 2, 0])
        local = self.geometry.positions @ rows.T + offsets
        faces = self.geometry.faces[: self.geometry.num_casters]
        _, nearest = rasterise(
            np.ascontiguousarray(local[:, :2]), np.ascontiguousarray(local[:, 2]), faces, SHADOW_SIZE, SHADOW_SIZE
        )
        around = np.ones((2 * int(self.light[16]) + 1,) * 2, np.uint8)
        return np.stack([nearest, cv2.dilate(nearest, around), cv2.erode(nearest, around)]), np.concatenate(
            [rows.ravel(), offsets]
        )


class Meshes:
    """Collects meshes into one ``Geometry``."""

    def __init__(self):
        self._positions, self._normals, self._uvw, self._faces, self._face_material, self._face_part = (
            [],
            [],
            [],
            [],
            [],
            [],
        )
        self._materials, self._vertices = [], 0

    def material(self, row: np.ndarray) -> int:
        self._materials.append(row)
        return len(self._materials) - 1

    def add(self, positions, faces, uvw, material, part=0, normals=None) -> None:
        """``material`` and ``part``: a number, or (F,) numbers."""
        self._positions.append(positions)
        self._normals.append(vertex_normals(positions, faces) if normals is None else normals)
        self._uvw.append(uvw)
        self._faces.append(faces + self._vertices)
        self._face_material.append(np.broadcast_to(np.asarray(material, np.uint8), len(faces)))
        self._face_part.append(np.broadcast_to(np.asarray(part, np.uint8), len(faces)))
        self._vertices += len(positions)

    @property
    def num_faces(self) -> int:
        return sum(map(len, self._faces))

    def lowest(self, up: np.ndarray) -> float:
        return min(float((positions @ up).min()) for positions in self._positions)

    def geometry(self, num_casters: int) -> Geometry:
        return Geometry(
            np.concatenate(self._positions),
            np.concatenate(self._normals).astype(np.float32),
            np.concatenate(self._uvw).astype(np.float32),
            np.concatenate(self._faces).astype(np.int32),
            np.concatenate(self._face_material),
            np.concatenate(self._face_part),
            np.stack(self._materials),
            num_casters,
        )
