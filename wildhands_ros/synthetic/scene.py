"""A scene that is ready to be rendered: hands, objects, light and camera."""

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
"""Default size of the shadow map in texels along each side."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """All triangles of a scene: V vertices, F faces, M materials."""

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
    """(F,) uint8: 1 + the index of the hand for faces of a hand, else 0."""
    materials: np.ndarray
    """(M, MATERIAL_COLUMNS) float64"""
    num_casters: int
    """Number of faces that cast shadows; they come first."""


@dataclass(frozen=True, eq=False)
class Photography:
    """How the camera takes the image."""

    gains: np.ndarray
    """(3,) exposure and white balance."""
    read_noise: float
    """Standard deviation of the noise of dark pixels, in grey levels."""
    shot_noise: float
    """Increase of that standard deviation from dark to white."""
    motion: np.ndarray
    """(2,) length of the motion blur in pixels of the frame."""
    hands_move: bool
    """Whether the motion blur affects only the geometry, not the background."""
    defocus: float
    """Standard deviation of the blur in pixels of the frame."""
    background_defocus: float
    """Standard deviation of the additional blur of the background."""
    jpeg_quality: int
    """0: no compression."""
    noise_seed: int


@dataclass(frozen=True, eq=False)
class Scene:
    """Input of ``render``."""

    index: int
    camera: Camera
    egocentric: bool
    hands: tuple[LabelledHand, ...]
    """Labels of the hands in pixels of the frame.

    Parameters are those of the open hand, keypoints that the lens does not see are NaN, and boxes contain the whole
    mesh, clipped to the frame. Masks and visibility are known only after rendering.
    """
    geometry: Geometry
    light: np.ndarray
    """(LIGHT_COLUMNS,)"""
    background: np.ndarray
    """(h, w, 3) uint8"""
    background_affine: np.ndarray
    """(2, 3) map from its pixels to those of the frame."""
    photography: Photography
    shadow_size: int = SHADOW_SIZE
    """Size of the shadow map in texels along each side."""

    @cached_property
    def shadow(self) -> tuple[np.ndarray, np.ndarray]:
        """The shadow map: nearness of the surfaces as seen from the key light.

        Returns:
            (3, S, S) nearness and the maxima and minima of its neighbourhoods, and the (12,) map from points to the
            shadow
                map: three rows, then three offsets.
        """
        labelled = [hand.joints for hand in self.hands if hand.joints is not None]
        joints = np.concatenate(labelled) if labelled else self.geometry.positions
        centre = joints.mean(axis=0)
        reach = min(float(np.linalg.norm(joints - centre, axis=-1).max()) + 0.05, 0.30)
        light = self.light[:3]
        side = cross(light, [0.0, 1, 0] if abs(light[1]) < 0.9 else [1.0, 0, 0])
        side = side / np.linalg.norm(side)
        rows = np.stack([side, cross(side, light), light])
        scale = self.shadow_size / (2 * reach)
        rows[:2] *= scale
        offsets = -rows @ centre + np.array([self.shadow_size / 2, self.shadow_size / 2, 0])
        local = self.geometry.positions @ rows.T + offsets
        faces = self.geometry.faces[: self.geometry.num_casters]
        _, nearest = rasterise(
            np.ascontiguousarray(local[:, :2]),
            np.ascontiguousarray(local[:, 2]),
            faces,
            self.shadow_size,
            self.shadow_size,
        )
        around = np.ones((2 * int(self.light[16]) + 1,) * 2, np.uint8)
        return np.stack([nearest, cv2.dilate(nearest, around), cv2.erode(nearest, around)]), np.concatenate(
            [rows.ravel(), offsets]
        )


class Meshes:
    """Collects meshes into one ``Geometry``."""

    def __init__(self) -> None:
        self._positions: list[np.ndarray] = []
        self._normals: list[np.ndarray] = []
        self._uvw: list[np.ndarray] = []
        self._faces: list[np.ndarray] = []
        self._face_material: list[np.ndarray] = []
        self._face_part: list[np.ndarray] = []
        self._materials: list[np.ndarray] = []
        self._vertices = 0

    def material(self, row: np.ndarray) -> int:
        """Adds a material, (MATERIAL_COLUMNS,), and returns its index."""
        self._materials.append(row)
        return len(self._materials) - 1

    def add(
        self,
        positions: np.ndarray,
        faces: np.ndarray,
        uvw: np.ndarray,
        material: int | np.ndarray,
        part: int | np.ndarray = 0,
        normals: np.ndarray | None = None,
    ) -> None:
        """Adds a mesh.

        Args:
            positions: (V, 3) metres, camera frame.
            faces: (F, 3) indices of its vertices.
            uvw: (V, 3) texture coordinates.
            material: Index of the material, of all faces or (F,).
            part: ``Geometry.face_part``, of all faces or (F,).
            normals: (V, 3) unit normals; None to compute them from the faces.
        """
        self._positions.append(positions)
        self._normals.append(vertex_normals(positions, faces) if normals is None else normals)
        self._uvw.append(uvw)
        self._faces.append(faces + self._vertices)
        self._face_material.append(np.broadcast_to(np.asarray(material, np.uint8), len(faces)))
        self._face_part.append(np.broadcast_to(np.asarray(part, np.uint8), len(faces)))
        self._vertices += len(positions)

    @property
    def num_faces(self) -> int:
        """Number of faces so far."""
        return sum(map(len, self._faces))

    def lowest(self, up: np.ndarray) -> float:
        """Returns the smallest coordinate of all vertices along the unit vector ``up``."""
        return min(float((positions @ up).min()) for positions in self._positions)

    def geometry(self, num_casters: int) -> Geometry:
        """Returns the geometry, of which the first ``num_casters`` faces cast shadows."""
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
