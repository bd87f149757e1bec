"""Masks of meshes, for comparison with labelled masks."""

from __future__ import annotations

import cv2
import numpy as np

from .camera import Camera

_FRACTION_BITS = 4
"""Fractional bits of OpenCV's fixed-point coordinates."""
_LIMIT = 1e4
"""Pixels; faces with a vertex projected beyond this are skipped."""


def mesh_mask(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
    """Rasterise a mesh.

    Args:
        vertices: (V, 3) metres in the camera frame.
        faces: (F, 3) vertex indices.
        camera: The camera of the image. Faces that lie only partly within its field of view are skipped.

    Returns:
        (H, W) bool, the pixels that the mesh covers.
    """
    points = camera.project(vertices)
    triangles = points[faces]
    triangles = triangles[(np.abs(np.nan_to_num(triangles, nan=np.inf)) < _LIMIT).all(axis=(1, 2))]
    mask = np.zeros((camera.height, camera.width), np.uint8)
    for triangle in np.round(triangles * 2**_FRACTION_BITS).astype(np.int32):
        cv2.fillConvexPoly(mask, triangle, (1,), cv2.LINE_8, _FRACTION_BITS)
    return mask.astype(bool)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two (H, W) bool masks; NaN if both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else float("nan")
