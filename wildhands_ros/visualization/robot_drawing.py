"""Draws a simulated robot without OpenGL, which needs a display or system libraries."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..geometry.shapes import Shape
from ..synthetic.raster import rasterise, vertex_normals
from ..synthetic.solids import Solid, box, cylinder

SMOOTHNESS = 2
"""Pixels per pixel of the result along each axis, against jagged edges."""
LIGHT = np.array([-0.42, 0.30, 0.8564])
"""Unit vector towards the light in the robot's base frame, z up."""
SKY = (228, 233, 240)
"""RGB of the background."""
AMBIENT = 0.42
SHADOW = 0.72
"""Brightness of the table in the shadow of the robot."""


def look_at(eye: Sequence[float], target: Sequence[float]) -> Pose:
    """Returns the pose of a camera (z forward, y down) at ``eye`` that looks at ``target``, in a frame with z up."""
    forward = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return Pose(np.column_stack([right, np.cross(forward, right), forward]), np.asarray(eye, float))


def draw_robot(shapes: Sequence[Shape], camera: Camera, view: Pose) -> np.ndarray:
    """Draws the parts of a robot.

    Args:
        shapes: the parts; the first one is the table, on whose plane z = 0 the others cast shadows.
        camera: camera without lens distortion.
        view: pose of the camera in the frame of the shapes.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    meshes = [_mesh(shape) for shape in shapes]
    counts = np.cumsum([0] + [len(vertices) for vertices, _ in meshes])
    vertices = np.concatenate([vertices for vertices, _ in meshes])
    faces = np.concatenate([faces + first for (_, faces), first in zip(meshes, counts, strict=False)]).astype(np.int32)
    colours = np.repeat([shape.colour for shape in shapes], [len(mesh[1]) for mesh in meshes], axis=0)

    width, height = SMOOTHNESS * camera.width, SMOOTHNESS * camera.height
    pixels, nearness = _projected(vertices, camera, view)
    index, _ = rasterise(pixels, nearness, faces, width, height)
    table_faces = len(meshes[0][1])
    image = np.empty((height, width, 3), np.uint8)
    image[:] = SKY
    # The table is flat: all of it has the same brightness.
    bright = 255 * np.asarray(shapes[0].colour) * (AMBIENT + (1 - AMBIENT) * LIGHT[2])
    is_table = (index >= 0) & (index < table_faces)
    image[is_table] = bright
    image[is_table & _shadow(vertices, faces[table_faces:], camera, view)] = SHADOW * bright

    rows, columns = np.nonzero(index >= table_faces)
    face = index[rows, columns]
    normals = vertex_normals(vertices, faces)[faces[face]]
    lambert = np.clip(_normals(np.column_stack([columns, rows]), pixels[faces[face]], normals) @ LIGHT, 0, 1)
    image[rows, columns] = 255 * colours[face] * (AMBIENT + (1 - AMBIENT) * lambert)[:, None]
    return cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)


def _projected(points: np.ndarray, camera: Camera, view: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels of the large image (N, 2), NaN behind the camera, and nearness 1 / z (N,)."""
    local = view.inverse().apply(points)
    with np.errstate(divide="ignore", invalid="ignore"):
        nearness = np.where(local[:, 2] > 0.01, 1 / local[:, 2], np.nan)
    pixels = (local @ camera.k.T)[:, :2] * nearness[:, None]
    # Pixel centres are whole numbers in both images.
    return SMOOTHNESS * (pixels + 0.5) - 0.5, nearness


def _shadow(vertices: np.ndarray, faces: np.ndarray, camera: Camera, view: Pose) -> np.ndarray:
    """Returns a (H, W) mask of the large image: where the plane z = 0 lies in the shadow of the faces."""
    on_plane = vertices - LIGHT * (np.maximum(vertices[:, 2:], 0) / LIGHT[2])
    pixels, _ = _projected(on_plane, camera, view)
    mask = np.zeros((SMOOTHNESS * camera.height, SMOOTHNESS * camera.width), np.uint8)
    triangles = pixels[faces]
    for triangle in triangles[(np.abs(triangles) < 2**15).all(axis=(1, 2))].round().astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, (1,))
    return mask > 0


def _normals(points: np.ndarray, corners: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Interpolates the normals (N, 3, 3) at the corners (N, 3, 2) of triangles at points in them (N, 2)."""
    a, b, c = np.moveaxis(corners, 1, 0)
    weights = [_area(b, c, points), _area(c, a, points), _area(a, b, points)]
    smooth = np.einsum("kn,nkd->nd", np.stack(weights) / _area(a, b, c), normals)
    return smooth / np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-9)


def _area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns twice the signed areas (N,) of triangles with the corners (N, 2)."""
    (ux, uy), (vx, vy) = (b - a).T, (c - a).T
    return ux * vy - uy * vx


def _mesh(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Returns vertices in the frame of the shapes, and faces."""
    radius, half, _ = shape.size
    if shape.kind == "box":
        x, y, z = shape.size
        vertices, faces, _ = box(2 * x, 2 * y, 2 * z).mesh()
        return shape.pose.apply(vertices), faces
    if shape.kind == "cylinder":
        solid = cylinder(radius, 2 * half)
    else:
        half = half if shape.kind == "capsule" else 0.0
        angles = np.linspace(-np.pi / 2, np.pi / 2, 16)
        rise = half * np.where(angles < 0, -1.0, 1.0)
        solid = Solid(np.column_stack([np.maximum(radius * np.cos(angles), 0), radius * np.sin(angles) + rise]))
    vertices, faces, _ = solid.mesh()
    # Solids of revolution have their axis along y, shapes along z.
    return shape.pose.apply(vertices[:, [2, 0, 1]]), faces
