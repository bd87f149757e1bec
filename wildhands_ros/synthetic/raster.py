"""A z-buffer rasteriser for triangle meshes, compiled by Numba.

It uses strict floating point (no fast math) and one thread, so the result is the same on each machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NOTHING = -1
"""Value of an index buffer where there is no triangle."""


@njit(cache=True, error_model="numpy")
def _fill(pixels, nearness, faces, index, nearest):
    height, width = index.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = pixels[a, 0], pixels[a, 1], pixels[b, 0], pixels[b, 1], pixels[c, 0], pixels[c, 1]
        na, nb, nc = nearness[a], nearness[b], nearness[c]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # Front faces are counter-clockwise as seen, so clockwise with y down. NaN (vertices that are not seen)
        # compares false.
        if not (area < 0 and na + nb + nc > -1e30):
            continue
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        low_y, high_y = min(ay, by, cy), max(ay, by, cy)
        if high_x < 0 or high_y < 0 or low_x > width - 1 or low_y > height - 1:
            continue
        x0, x1 = int(np.ceil(max(low_x, 0.0))), int(np.floor(min(high_x, width - 1.0)))
        y0, y1 = int(np.ceil(max(low_y, 0.0))), int(np.floor(min(high_y, height - 1.0)))
        scale = 1.0 / area
        # The weights of a and b are linear in x and y; c has the rest.
        wa_x, wa_y = (by - cy) * scale, (cx - bx) * scale
        wb_x, wb_y = (cy - ay) * scale, (ax - cx) * scale
        for y in range(y0, y1 + 1):
            wa = (x0 - cx) * wa_x + (y - cy) * wa_y
            wb = (x0 - cx) * wb_x + (y - cy) * wb_y
            for x in range(x0, x1 + 1):
                wc = 1.0 - wa - wb
                if wa >= 0 and wb >= 0 and wc >= 0:
                    near = wa * na + wb * nb + wc * nc
                    if near > nearest[y, x]:
                        nearest[y, x] = near
                        index[y, x] = f
                wa += wa_x
                wb += wb_x


def rasterise(
    pixels: np.ndarray, nearness: np.ndarray, faces: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest front face at each pixel.

    Args:
        pixels: (V, 2) float64 with pixel centres at whole numbers. Faces with NaN vertices are omitted.
        nearness: (V,) float64, larger is nearer and linear in the image: 1 / z in perspective, -z in parallel
            projection.
        faces: (F, 3) int32, counter-clockwise as seen from outside.
        width: Width of the result.
        height: Height of the result.

    Returns:
        (height, width) int32 index of the face or -1, and (height, width) float32 nearness or -inf.
    """
    index = np.full((height, width), NOTHING, np.int32)
    nearest = np.full((height, width), -np.inf, np.float32)
    _fill(pixels, nearness, faces, index, nearest)
    return index, nearest


@njit(cache=True, error_model="numpy")
def vertex_normals(vertices, faces):
    """Returns (V, 3) float32 unit normals, weighted by area."""
    normals = np.zeros(vertices.shape, np.float64)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            v = faces[f, k]
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    result = np.empty(vertices.shape, np.float32)
    for v in range(vertices.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        for k in range(3):
            result[v, k] = normals[v, k] / max(length, 1e-20)
    return result
