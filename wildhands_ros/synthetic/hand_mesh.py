"""The mesh of the open hand for rendering, with a forearm attached to its wrist.

Everything here is a right hand. The scene mirrors left hands in x.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from ..hand_model.asset import NUM_JOINTS, HandAsset, joints_linear, open_hand
from ..hand_model.joints import MANO_PARENTS
from ..types import Side
from .skin import skin_maps

ARM_RINGS = np.array([0.008, 0.018, 0.032, 0.05, 0.075, 0.105, 0.14, 0.19, 0.27, 0.40, 0.75])
"""Metres along the arm from the rim of the wrist; long enough to leave the image of most cameras."""
BEND = 0.07
"""Metres over which the arm bends at the wrist."""


class HandMesh:
    """Linear blend skinning of one right hand in NumPy: the same surface as ``hand_model.layer.HandLayer``."""

    def __init__(self, asset: HandAsset):
        rows = [asset.v_template[..., None], asset.shapedirs]
        if asset.posedirs is not None:
            rows.append(asset.posedirs)
        matrix = np.concatenate(rows, axis=-1).astype(np.float32)
        self._blend = np.ascontiguousarray(matrix.reshape(-1, matrix.shape[-1]))
        self._weights = asset.weights.astype(np.float32)
        self._tips = asset.tip_vertices
        self._has_posedirs = asset.posedirs is not None
        self.rest_joints, self.joint_dirs = joints_linear(asset)
        self.hand_faces = np.ascontiguousarray(asset.faces, np.int32)
        # The arm replaces the fan that closes the wrist, which surrounds the vertex with the most faces.
        apex = np.bincount(asset.faces.ravel()).argmax()
        open_faces = asset.faces[(asset.faces != apex).all(axis=1)]
        self._rim = _boundary(open_faces)
        self.num_vertices = count = len(asset.v_template)
        around, rings = len(self._rim), len(ARM_RINGS)
        loops = np.concatenate([self._rim[None], count + np.arange(rings * around).reshape(rings, around)])
        inner, outer = loops[:-1], loops[1:]
        next_inner, next_outer = np.roll(inner, -1, axis=1), np.roll(outer, -1, axis=1)
        halves = [np.stack([next_inner, inner, outer], axis=-1), np.stack([next_inner, outer, next_outer], axis=-1)]
        arm = np.stack(halves, axis=2).reshape(rings, -1, 3)
        self.faces = np.concatenate([open_faces, arm.reshape(-1, 3)]).astype(np.int32)
        """(F, 3) faces of the hand with its arm."""
        self.face_ring = np.concatenate(
            [np.zeros(len(open_faces), int), np.repeat(np.arange(1, rings + 1), arm.shape[1])]
        )
        """(F,) 0 for the hand, else the ring of the arm at which a face ends."""
        uvw = skin_maps().uvw
        rim_uvw = uvw[self._rim]
        arm_uvw = np.repeat(rim_uvw[None], rings, axis=0)
        arm_uvw[..., 0] += ARM_RINGS[:, None]
        self.uvw = np.concatenate([uvw, arm_uvw.reshape(-1, 3)])
        """(V, 3) texture coordinates of the hand with its arm."""

    def pose(self, rotations: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses the hand about its wrist joint.

        Args:
            rotations: (16, 3, 3) local rotations, MANO order.
            betas: (10,) shape.

        Returns:
            Vertices (V, 3), joints (21, 3) in MANO order, and global rotations (16, 3, 3).
        """
        rest = self.rest_joints[:NUM_JOINTS] + self.joint_dirs[:NUM_JOINTS] @ betas
        coefficients = [np.ones(1), betas]
        if self._has_posedirs:
            coefficients.append((rotations[1:] - np.eye(3)).ravel())
        vertices = (self._blend @ np.concatenate(coefficients).astype(np.float32)).reshape(-1, 3)
        turns, joints = np.empty((NUM_JOINTS, 3, 3)), np.empty((21, 3))
        turns[0], joints[0] = rotations[0], rest[0]
        for joint in range(1, NUM_JOINTS):
            parent = MANO_PARENTS[joint]
            turns[joint] = turns[parent] @ rotations[joint]
            joints[joint] = joints[parent] + turns[parent] @ (rest[joint] - rest[parent])
        offsets = joints[:NUM_JOINTS] - np.einsum("jab,jb->ja", turns, rest)
        transforms = np.concatenate([turns, offsets[..., None]], axis=-1).reshape(NUM_JOINTS, 12).astype(np.float32)
        blended = (self._weights @ transforms).reshape(-1, 3, 4)
        vertices = np.einsum("vab,vb->va", blended[..., :3], vertices) + blended[..., 3]
        joints[NUM_JOINTS:] = vertices[self._tips]
        return vertices, joints, turns

    def with_arm(self, vertices: np.ndarray, arm: np.ndarray) -> tuple[np.ndarray, ArmLine]:
        """Adds the arm to a hand whose wrist is not rotated.

        Args:
            vertices: (V, 3) vertices of the hand.
            arm: (3,) unit vector from the wrist to the elbow.

        Returns:
            The vertices of ``faces``, and the centre line of the arm.
        """
        rim = vertices[self._rim]
        centre = rim.mean(axis=0)
        local = (rim - centre) * (1, -1, -1)  # along the arm, out of the palm, their cross product
        line = ArmLine(centre, arm, tuple(np.ptp(local[:, 1:], axis=0) / 2))
        points, frames = line.frames(ARM_RINGS)
        flat = np.clip(1 - ARM_RINGS / 0.02, 0, 1)  # the rim is not planar
        # The forearm becomes wider and rounder towards its muscles.
        wide = 1 + 1.9 * np.minimum(ARM_RINGS, 0.16)
        thick = 1 + 3.4 * np.minimum(ARM_RINGS, 0.16)
        section = np.stack(
            [local[None, :, 0] * flat[:, None], local[None, :, 1] * thick[:, None], local[None, :, 2] * wide[:, None]],
            axis=-1,
        )
        rings = points[:, None] + section @ np.swapaxes(frames, 1, 2)
        return np.concatenate([vertices, rings.reshape(-1, 3)]), line


class ArmLine:
    """The centre line of the forearm, which leaves the wrist along the axis of the hand and bends towards the elbow."""

    def __init__(self, wrist: np.ndarray, arm: np.ndarray, radii: tuple[float, float]):
        """Creates a line.

        Args:
            wrist: (3,) centre of the rim of the wrist.
            arm: (3,) unit vector to the elbow.
            radii: Radii of the wrist in metres, out of the palm and across.
        """
        self._start, self._arm = wrist, arm
        self.radii = radii

    def frames(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns points (N, 3) at distances in metres, and frames (N, 3, 3).

        The columns of a frame point along the arm, out of the palm, and along their cross product.
        """
        # A parabola over the first centimetres, then a straight line.
        p0 = self._start
        p1 = p0 + BEND / 2 * np.array([1.0, 0, 0])
        p2 = p1 + BEND / 2 * self._arm
        t = np.clip(distances / BEND, 0, 1)[:, None]
        points = (
            (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2 + np.maximum(distances - BEND, 0)[:, None] * self._arm
        )
        tangents = (1 - t) * (p1 - p0) + t * (p2 - p1)
        tangents = tangents / np.linalg.norm(tangents, axis=-1, keepdims=True)
        palm = np.array([0.0, -1, 0]) + tangents[:, 1:2] * tangents
        palm = palm / np.linalg.norm(palm, axis=-1, keepdims=True)
        return points, np.stack([tangents, palm, np.cross(tangents, palm)], axis=-1)


@cache
def hand_mesh() -> HandMesh:
    """Returns the mesh of the open hand."""
    return HandMesh(open_hand(Side.RIGHT))


def rotation(vector: np.ndarray | Sequence[float]) -> np.ndarray:
    """Returns the (3, 3) rotation of an axis-angle vector. Faster than SciPy for single rotations."""
    return cv2.Rodrigues(np.asarray(vector, dtype=np.float64))[0]


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Returns the (3,) axis-angle of a rotation matrix."""
    return cv2.Rodrigues(matrix)[0].ravel()


def _boundary(faces: np.ndarray) -> np.ndarray:
    """Returns the vertices of the longest open boundary, in the direction of the edges of the faces."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {tuple(edge) for edge in half.tolist()}
    following = {a: b for a, b in directed if (b, a) not in directed}
    loops = []
    while following:
        start = min(following)
        loop, vertex = [start], following.pop(start)
        while vertex != start:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(loop)
    return np.array(max(loops, key=len))
