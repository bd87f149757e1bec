"""Masks of meshes, to compare with true ones."""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry.camera import Camera

_FRACTION_BITS = 4
"""Of OpenCV's coordinates."""
_LIMIT = 1e4
"""Pixels beyond which a projected point is not drawn to."""


def mesh_mask(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """(H, W) bool: where a mesh, (V, 3) metres in the camera frame and (F, 3), covers the picture. Faces that the lens sees only in part
    are left out."""
    points = camera.project(vertices)
    triangles = points[faces]
    triangles = triangles[(np.abs(np.nan_to_num(triangles, nan=np.inf)) < _LIMIT).all(axis=(1, 2))]
    mask = np.zeros((camera.height, camera.width), np.uint8)
    for triangle in np.round(triangles * 2**_FRACTION_BITS).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, 1, cv2.LINE_8, _FRACTION_BITS)
    return mask.astype(bool)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two (H, W) bool masks; NaN where both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else float("nan")
