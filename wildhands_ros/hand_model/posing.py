"""Computes the mesh of one hand from its parameters: the same as ``HandLayer``, without gradients.

A few NumPy operations replace sixty torch operations, whose overhead exceeds their arithmetic for a single hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from ..types import ManoParameters, Side
from .asset import NUM_JOINTS, POSE_FEATURES, HandAsset, joints_linear
from .frames import follow_chains
from .joints import MANO_PARENTS, MANO_TO_MEDIAPIPE

_PARENTS = list(MANO_PARENTS[1:])


class PosedHand(NamedTuple):
    """A posed hand, in the frame of its parameters."""

    vertices: np.ndarray
    """(V, 3) float32 metres."""
    joints: np.ndarray
    """(21, 3) float32 metres, MediaPipe order."""
    rotation: np.ndarray
    """(3, 3) rotation of the wrist from the rest pose."""


class HandPoser:
    """Poses right and left hands, given the hand model of each side."""

    def __init__(self, hand_model: Mapping[Side, HandAsset]):
        self._meshes = {side: _Mesh(asset) for side, asset in hand_model.items()}

    def __call__(self, mano: ManoParameters, side: Side) -> PosedHand:
        """Poses one hand."""
        return self._meshes[side].posed(mano)


class _Mesh:
    """The model of one side. Vertices are stored as (3, V), so that operations run along contiguous memory."""

    def __init__(self, asset: HandAsset):
        template, dirs = joints_linear(asset)
        self._joints, self._joints_dirs = template[:NUM_JOINTS], dirs[:NUM_JOINTS]
        self._template = _flat(asset.v_template)
        self._shapedirs = _flat(asset.shapedirs)
        # The pose blend shapes of the open hand are zero for most vertices, which are left out.
        posedirs = _flat(
            np.zeros((len(asset.v_template), 3, POSE_FEATURES)) if asset.posedirs is None else asset.posedirs
        )
        self._pose_dependent = np.flatnonzero(posedirs.any(axis=1))
        self._posedirs = posedirs[self._pose_dependent]
        self._weights = np.ascontiguousarray(asset.weights.T, np.float32)
        self._tips = asset.tip_vertices

    def posed(self, mano: ManoParameters) -> PosedHand:
        local = Rotation.from_rotvec(
            np.concatenate([mano.global_orient, mano.hand_pose]).reshape(NUM_JOINTS, 3)
        ).as_matrix()
        rest = self._joints + self._joints_dirs @ mano.betas
        offsets = (rest[1:] - rest[_PARENTS]).reshape(5, 3, 3)
        frames, positions = follow_chains(local[0], rest[0] + mano.transl, local[1:].reshape(5, 3, 3, 3), offsets)
        # Each joint maps a point x to R x + (joint - R joint_rest); skinning blends these transforms.
        transforms = np.empty((NUM_JOINTS, 3, 4))
        transforms[0, :, :3], transforms[0, :, 3] = local[0], rest[0] + mano.transl
        transforms[1:, :, :3], transforms[1:, :, 3] = frames[:, 1:].reshape(-1, 3, 3), positions.reshape(-1, 3)
        joints = np.empty((NUM_JOINTS + len(self._tips), 3), np.float32)
        joints[:NUM_JOINTS] = transforms[:, :, 3]
        transforms[:, :, 3] -= (transforms[:, :, :3] @ rest[..., None])[..., 0]

        vertices = self._template + self._shapedirs @ mano.betas.astype(np.float32)
        vertices[self._pose_dependent] += self._posedirs @ (local[1:] - np.eye(3)).astype(np.float32).ravel()
        blended = (transforms.reshape(NUM_JOINTS, 12).astype(np.float32).T @ self._weights).reshape(3, 4, -1)
        moved = np.einsum("abv,bv->av", blended[:, :3], vertices.reshape(3, -1)) + blended[:, 3]
        vertices = np.ascontiguousarray(moved.T)
        joints[NUM_JOINTS:] = vertices[self._tips]
        return PosedHand(vertices, joints[list(MANO_TO_MEDIAPIPE)], local[0])


def _flat(values: np.ndarray) -> np.ndarray:
    """Reshapes (V, 3, ...) to (3 V, ...) float32 with all x first."""
    return np.ascontiguousarray(np.swapaxes(values, 0, 1), np.float32).reshape(-1, *values.shape[2:])
