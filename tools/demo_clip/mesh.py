"""Meshes of the demo clip: subdivided skin with a forearm grown from the hand's open wrist, and a sleeve around it."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

FOREARM_RINGS = np.linspace(0.012, 0.11, 9)
"""Metres from the wrist's rim along the arm."""
SLEEVE_START, SLEEVE_END = 0.046, 0.34
SLEEVE_AROUND, SLEEVE_ALONG = 54, 72


def loop_subdivision(faces: np.ndarray, num_vertices: int) -> tuple[csr_matrix, np.ndarray]:
    """One step of Loop's subdivision (Loop 1987) as a matrix.

    Returns (new vertices = matrix @ old vertices) and the (4 F, 3) new faces. Boundaries become cubic B-splines.
    """
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    edges, edge_of = np.unique(np.sort(half, axis=1), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1)
    uses = np.bincount(edge_of, minlength=len(edges))
    interior = uses == 2

    rows, columns, values = [], [], []

    def put(row, column, value):
        rows.append(np.broadcast_to(row, column.shape))
        columns.append(column)
        values.append(np.broadcast_to(value, column.shape))

    new = num_vertices + np.arange(len(edges))
    for end in (0, 1):
        put(new, edges[:, end], np.where(interior, 3 / 8, 1 / 2))
    inner_half = interior[edge_of]
    put(new[edge_of[inner_half]], opposite[inner_half], 1 / 8)

    boundary_edges = edges[~interior]
    on_boundary = np.zeros(num_vertices, bool)
    on_boundary[boundary_edges] = True
    degree = np.bincount(edges.ravel(), minlength=num_vertices)
    n = np.maximum(degree, 1)
    beta = (5 / 8 - (3 / 8 + np.cos(2 * np.pi / n) / 4) ** 2) / n
    put(np.arange(num_vertices), np.arange(num_vertices), np.where(on_boundary, 3 / 4, 1 - n * beta))
    for a, b in ((0, 1), (1, 0)):
        inner = ~on_boundary[edges[:, a]]
        put(edges[inner, a], edges[inner, b], beta[edges[inner, a]])
        put(boundary_edges[:, a], boundary_edges[:, b], 1 / 8)

    shape = num_vertices + len(edges), num_vertices
    matrix = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape).tocsr()
    middle = num_vertices + edge_of.reshape(3, -1)
    a, b, c = faces.T
    ab, bc, ca = middle
    return matrix, np.concatenate(
        [np.stack(corner, axis=1) for corner in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )


def without_cap(faces: np.ndarray) -> np.ndarray:
    """The faces without the fan that closes the open hand's wrist: those around the vertex where most meet."""
    apex = np.bincount(faces.ravel()).argmax()
    return faces[(faces != apex).all(axis=1)]


def boundary_loop(faces: np.ndarray) -> np.ndarray:
    """The longest open rim, vertex after vertex, in the direction of the faces' edges."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {tuple(edge) for edge in half.tolist()}
    following = {a: b for a, b in directed if (b, a) not in directed}
    loops = []
    while following:
        start, vertex = following.popitem()
        loop = [start]
        while vertex != start:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(loop)
    return np.array(max(loops, key=len))


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit, area-weighted."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(faces.ravel(), np.repeat(axis, 3), len(vertices)) for axis in face_normals.T], axis=-1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)


class ArmCurve:
    """The forearm's middle line: leaves the wrist along the hand's axis and bends towards the elbow."""

    def __init__(self, wrist: np.ndarray, hand_axis: np.ndarray, elbow: np.ndarray, palm: np.ndarray):
        """``hand_axis``: unit, from the fingers to the wrist; ``palm``: unit, out of the palm. Camera frame, metres."""
        reach = np.linalg.norm(elbow - wrist)
        self._controls = np.stack([wrist, wrist + 0.22 * reach * hand_axis, elbow])
        self._length = reach
        self._palm = palm

    def frames(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) and rotations (N, 3, 3) whose columns are (along the arm, out of the palm's side, their cross product)."""
        t = (np.asarray(distances) / self._length)[:, None]
        p0, p1, p2 = self._controls
        points = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2
        # The parameter of a quadratic is not its length, but the rings need no exact distance.
        tangents = (1 - t) * (p1 - p0) + t * (p2 - p1)
        tangents /= np.linalg.norm(tangents, axis=-1, keepdims=True)
        palm = self._palm - (tangents @ self._palm)[:, None] * tangents
        palm /= np.linalg.norm(palm, axis=-1, keepdims=True)
        return points, np.stack([tangents, palm, np.cross(tangents, palm)], axis=-1)


class SkinMesh:
    """A hand with its forearm, subdivided twice. Faces and rest positions do not change; vertices follow the hand."""

    def __init__(self, v_template: np.ndarray, faces: np.ndarray, arm_axis: float):
        """``arm_axis``: +1 where the forearm leaves towards +x at rest (right hand), -1 for the left."""
        faces = without_cap(faces)
        self._rim = boundary_loop(faces)
        self._arm_axis = arm_axis
        count, rings, around = len(v_template), len(FOREARM_RINGS), len(self._rim)
        loops = np.concatenate([self._rim[None], count + np.arange(rings * around).reshape(rings, around)])
        inner, outer = loops[:-1], loops[1:]
        following_inner, following_outer = np.roll(inner, -1, axis=1), np.roll(outer, -1, axis=1)
        # The rim runs with the hand's faces, so the tube's faces run against it.
        tube = np.concatenate(
            [
                np.stack([following_inner, inner, outer], axis=-1).reshape(-1, 3),
                np.stack([following_inner, outer, following_outer], axis=-1).reshape(-1, 3),
            ]
        )
        all_faces = np.concatenate([faces, tube])
        first, once = loop_subdivision(all_faces, count + rings * around)
        second, self.faces = loop_subdivision(once, first.shape[0])
        self._subdivide = (second @ first).tocsr()
        rest = np.asarray(v_template, dtype=np.float64)
        centre = rest[self._rim].mean(axis=0)
        rings_rest = rest[self._rim] + FOREARM_RINGS[:, None, None] * np.array([arm_axis, 0, 0])
        self._rim_centre_rest, self._rim_rest = centre, rest[self._rim] - centre
        self.rest = self._subdivide @ np.concatenate([rest, rings_rest.reshape(-1, 3)])
        """(V, 3) metres."""
        self.rest_normals = vertex_normals(self.rest, self.faces)

    def pose(self, vertices: np.ndarray, rotation: np.ndarray, elbow: np.ndarray) -> tuple[np.ndarray, ArmCurve]:
        """The subdivided (V, 3) vertices for a posed hand, and the middle line of its arm.

        ``rotation`` (3, 3) turns the rest frame into the camera frame.
        """
        axis, palm = self._arm_axis * rotation[:, 0], -rotation[:, 1]
        curve = ArmCurve(vertices[self._rim].mean(axis=0), axis, elbow, palm)
        points, frames = curve.frames(FOREARM_RINGS)
        # Rest coordinates of the rim in (along the arm, out of the palm, their cross product).
        basis = np.stack([[self._arm_axis, 0, 0], [0, -1, 0], np.cross([self._arm_axis, 0, 0], [0, -1, 0])], axis=-1)
        local = self._rim_rest @ basis
        grow = 1 + 1.1 * FOREARM_RINGS
        flat = np.clip(1 - FOREARM_RINGS / 0.02, 0, 1)  # the rim is not plane; it flattens within two centimetres
        rings = np.stack(
            [local[None, :, 0] * flat[:, None], *(local[None, :, i] * grow[:, None] for i in (1, 2))], axis=-1
        )
        forearm = points[:, None] + np.einsum("rij,raj->rai", frames, rings)
        return self._subdivide @ np.concatenate([vertices, forearm.reshape(-1, 3)]), curve

    @property
    def wrist_radii(self) -> tuple[float, float]:
        """Half extents of the wrist's rim: out of the palm and across."""
        return float(np.ptp(self._rim_rest[:, 1]) / 2), float(np.ptp(self._rim_rest[:, 2]) / 2)


class SleeveMesh:
    """A knitted sleeve with a cuff, in folds that stay with the cloth."""

    def __init__(self, radii: tuple[float, float], rng: np.random.Generator):
        self._radii = np.array(radii)
        turn = np.linspace(0, 2 * np.pi, SLEEVE_AROUND, endpoint=False)
        along, around = np.meshgrid(np.linspace(0, 1, SLEEVE_ALONG), turn, indexing="ij")
        self.uv = np.stack([along * (SLEEVE_END - SLEEVE_START), around * 0.04], axis=-1).reshape(-1, 2)
        """(V, 2) metres on the cloth."""
        self._distance = SLEEVE_START + (SLEEVE_END - SLEEVE_START) * along[:, 0]
        # The first rows turn inwards: the cuff has a thick edge and no visible inside.
        inward = np.clip(1 - np.arange(SLEEVE_ALONG) / 3, 0, 1)
        self._distance = self._distance + 0.004 * (inward > 0) * np.cos(np.pi * inward)
        folds = np.zeros_like(along)
        for _ in range(14):
            frequency, turns, phase = rng.uniform(4, 16), rng.integers(-2, 3), rng.uniform(0, 2 * np.pi)
            folds += np.sin(2 * np.pi * frequency * along + turns * around + phase) / frequency
        cuff = np.clip((along - 0.16) / 0.08, 0, 1)
        self._thickness = (
            0.0090 + 0.0042 * folds * cuff + 0.006 * cuff * np.clip(along * 2, 0, 1) - 0.006 * inward[:, None]
        )
        self._around = around
        index = np.arange(SLEEVE_ALONG * SLEEVE_AROUND).reshape(SLEEVE_ALONG, SLEEVE_AROUND)
        a, b = index[:-1], index[1:]
        c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
        self.faces = np.concatenate(
            [np.stack([a, c, b], axis=-1).reshape(-1, 3), np.stack([c, d, b], axis=-1).reshape(-1, 3)]
        )

    def pose(self, curve: ArmCurve) -> np.ndarray:
        """(V, 3) vertices around an arm."""
        points, frames = curve.frames(self._distance)
        grow = (1 + 1.6 * self._distance)[:, None]
        radial = np.stack([np.cos(self._around), np.sin(self._around)], axis=-1)
        section = radial * (self._radii * grow[..., None] + self._thickness[..., None])
        return (points[:, None] + np.einsum("rij,raj->rai", frames[:, :, 1:], section)).reshape(-1, 3)
