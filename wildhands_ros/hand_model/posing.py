"""Computes the joints and the mesh of one hand from its parameters: the same as ``HandLayer``, without gradients.

A few NumPy operations replace sixty torch operations, whose overhead exceeds their arithmetic for a single hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..geometry.so3 import matrices_from_vectors
from ..types import ManoParameters, Side
from .asset import NUM_JOINTS, POSE_FEATURES, HandAsset, joints_linear
from .frames import follow_chains
from .joints import MANO_PARENTS, MANO_TO_MEDIAPIPE

_PARENTS = list(MANO_PARENTS[1:])


class PosedJoints(NamedTuple):
    """The joints of a posed hand, in the frame of its parameters."""

    joints: np.ndarray
    """(21, 3) float32 metres, MediaPipe order."""
    rotation: np.ndarray
    """(3, 3) rotation of the wrist from the rest pose."""


class PosedHand(NamedTuple):
    """A posed hand, in the frame of its parameters."""

    vertices: np.ndarray
    """(V, 3) float32 metres."""
    joints: np.ndarray
    """(21, 3) float32 metres, MediaPipe order."""
    rotation: np.ndarray
    """(3, 3) rotation of the wrist from the rest pose."""


class HandPoser:
    """Poses right and left hands, given the hand model of each side.

    Computing the joints alone takes half as long as computing joints and mesh.
    """

    def __init__(self, hand_model: Mapping[Side, HandAsset]):
        self._sides = {side: _SideModel(asset) for side, asset in hand_model.items()}

    def __call__(self, mano: ManoParameters, side: Side) -> PosedHand:
        """Poses one hand: mesh and joints."""
        model = self._sides[side]
        posed = model.posed(mano)
        return PosedHand(model.vertices(posed), model.joints(posed), posed.local[0])

    def joints(self, mano: ManoParameters, side: Side) -> PosedJoints:
        """Computes the joints of one hand."""
        model = self._sides[side]
        posed = model.posed(mano)
        return PosedJoints(model.joints(posed), posed.local[0])

    def vertices(self, mano: ManoParameters, side: Side) -> np.ndarray:
        """Computes the mesh of one hand: (V, 3) float32 metres."""
        model = self._sides[side]
        return model.vertices(model.posed(mano))


class _Posed(NamedTuple):
    """What the kinematic chain says about one hand."""

    betas: np.ndarray
    local: np.ndarray
    """(16, 3, 3) rotation of each joint relative to its parent."""
    positions: np.ndarray
    """(16, 3) joints in MANO order."""
    transforms: np.ndarray
    """(16, 3, 4) what each joint does to points of the rest pose."""


class _SideModel:
    """The model of one side."""

    def __init__(self, asset: HandAsset):
        template, dirs = joints_linear(asset)
        self._joints, self._joints_dirs = template[:NUM_JOINTS], dirs[:NUM_JOINTS]
        self._mesh = _Skin(asset, np.arange(len(asset.v_template)))
        self._tips = _Skin(asset, asset.tip_vertices)

    def posed(self, mano: ManoParameters) -> _Posed:
        local = matrices_from_vectors(np.concatenate([mano.global_orient, mano.hand_pose]).reshape(NUM_JOINTS, 3))
        rest = self._joints + self._joints_dirs @ mano.betas
        offsets = (rest[1:] - rest[_PARENTS]).reshape(5, 3, 3)
        frames, chain = follow_chains(local[0], rest[0] + mano.transl, local[1:].reshape(5, 3, 3, 3), offsets)
        positions = np.concatenate([(rest[0] + mano.transl)[None], chain.reshape(-1, 3)])
        # Each joint maps a point x to R x + (joint - R joint_rest); skinning blends these transforms.
        transforms = np.empty((NUM_JOINTS, 3, 4))
        transforms[0, :, :3] = local[0]
        transforms[1:, :, :3] = frames[:, 1:].reshape(-1, 3, 3)
        transforms[:, :, 3] = positions - (transforms[:, :, :3] @ rest[..., None])[..., 0]
        return _Posed(mano.betas, local, positions, transforms)

    def joints(self, posed: _Posed) -> np.ndarray:
        joints = np.concatenate([posed.positions.astype(np.float32), self._tips(posed)])
        return joints[list(MANO_TO_MEDIAPIPE)]

    def vertices(self, posed: _Posed) -> np.ndarray:
        return self._mesh(posed)


class _Skin:
    """Linear blend skinning of N vertices, stored as (3, N), so that operations run along contiguous memory."""

    def __init__(self, asset: HandAsset, vertices: np.ndarray):
        self._template = _flat(asset.v_template[vertices])
        self._shapedirs = _flat(asset.shapedirs[vertices])
        # The pose blend shapes of the open hand are zero for most vertices, which are left out.
        posedirs = _flat(
            np.zeros((len(vertices), 3, POSE_FEATURES)) if asset.posedirs is None else asset.posedirs[vertices]
        )
        self._pose_dependent = np.flatnonzero(posedirs.any(axis=1))
        self._posedirs = posedirs[self._pose_dependent]
        self._weights = np.ascontiguousarray(asset.weights[vertices].T, np.float32)

    def __call__(self, posed: _Posed) -> np.ndarray:
        """Returns the (N, 3) float32 vertices of a posed hand."""
        vertices = self._template + self._shapedirs @ posed.betas.astype(np.float32)
        if len(self._pose_dependent):
            vertices[self._pose_dependent] += self._posedirs @ (posed.local[1:] - np.eye(3)).astype(np.float32).ravel()
        transforms = posed.transforms.reshape(NUM_JOINTS, 12).astype(np.float32)
        blended = (transforms.T @ self._weights).reshape(3, 4, -1)
        moved = np.einsum("abv,bv->av", blended[:, :3], vertices.reshape(3, -1)) + blended[:, 3]
        return np.ascontiguousarray(moved.T)


def _flat(values: np.ndarray) -> np.ndarray:
    """Reshapes (V, 3, ...) to (3 V, ...) float32 with all x first."""
    return np.ascontiguousarray(np.swapaxes(values, 0, 1), np.float32).reshape(-1, *values.shape[2:])
