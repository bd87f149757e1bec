"""Differentiable hand model in MANO format (Romero et al. 2017).

Shape and pose blend shapes, forward kinematics and linear blend skinning.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..geometry.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from ..types import Side
from .asset import NUM_JOINTS, HandAsset, joints_linear


class HandOutput(NamedTuple):
    """A batch of posed hands."""

    vertices: Tensor
    """(B, V, 3) metres."""
    joints: Tensor
    """(B, 21, 3) metres, MANO order: 16 joints, then the fingertips (thumb to pinky)."""


class HandLayer(nn.Module):
    """Poses right and left hands in one batch.

    The layer has no parameters and adds nothing to a state dict.
    """

    blend_dirs: Tensor
    joints_template: Tensor
    joints_dirs: Tensor
    weights: Tensor
    hands_mean: Tensor
    tip_vertices: Tensor

    def __init__(self, asset_right: HandAsset, asset_left: HandAsset, flat_hand_mean: bool = True):
        """Creates the layer.

        Args:
            asset_right: Model of the right hand.
            asset_left: Model of the left hand, with the same numbers of vertices and betas.
            flat_hand_mean: True applies the given pose as it is. False adds ``hands_mean`` of the assets to it first,
                as axis-angles, like the released WildHands.

        Raises:
            ValueError: The two assets do not belong together.
        """
        super().__init__()
        assets = (asset_left, asset_right)
        if asset_right.side is not Side.RIGHT or asset_left.side is not Side.LEFT:
            raise ValueError(
                f"expected a right and a left hand, got {asset_right.side.value} and {asset_left.side.value}"
            )
        if asset_right.shapedirs.shape != asset_left.shapedirs.shape:
            raise ValueError(
                f"the two hands differ in shapedirs: {asset_right.shapedirs.shape} and {asset_left.shapedirs.shape}"
            )
        if (asset_right.posedirs is None) != (asset_left.posedirs is None):
            raise ValueError("only one of the two hands has posedirs")
        self.num_vertices, self.num_betas = asset_right.v_template.shape[0], asset_right.num_betas
        self.flat_hand_mean = flat_hand_mean
        self.has_posedirs = asset_right.posedirs is not None
        # Vertices at rest are linear in (1, betas, pose feature). With the matrices of both sides stacked and the
        # inputs of the other side set to zero, a mixed batch is one matrix product without a copy of the directions
        # per sample.
        self._constant("blend_dirs", np.concatenate([_blend_matrix(asset) for asset in assets]))
        joints = [joints_linear(asset) for asset in assets]
        self._constant("joints_template", np.stack([template[:NUM_JOINTS] for template, _ in joints]))
        self._constant("joints_dirs", np.stack([dirs[:NUM_JOINTS] for _, dirs in joints]))
        self._constant("weights", np.stack([asset.weights for asset in assets]))
        self._constant("hands_mean", np.stack([asset.hands_mean for asset in assets]))
        self.register_buffer(
            "tip_vertices",
            torch.from_numpy(np.stack([a.tip_vertices for a in assets]).astype(np.int64)),
            persistent=False,
        )

    def _constant(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, np.float32)), persistent=False)

    def forward(
        self, global_orient: Tensor, hand_pose: Tensor, betas: Tensor, transl: Tensor | None = None, *, is_right: Tensor
    ) -> HandOutput:
        """Poses a batch of hands.

        As in smplx, the global rotation is about the wrist joint, not about the origin, and ``transl`` is added
        afterwards.

        Args:
            global_orient: (B, 3) axis-angle or (B, 3, 3) matrices.
            hand_pose: (B, 45) or (B, 15, 3) axis-angle, or (B, 15, 3, 3) matrices, MANO order.
            betas: (B, num_betas) shape parameters.
            transl: (B, 3) metres; None for zero.
            is_right: (B,) bool.

        Returns:
            The posed hands.
        """
        side = is_right.long()
        rotations = self._rotations(global_orient, hand_pose, side)
        vertices_rest = self._vertices_rest(betas, rotations, is_right)
        joints_rest = self.joints_template[side] + torch.einsum("njcb,nb->njc", self.joints_dirs[side], betas)
        joint_rotations, joints = _forward_kinematics(rotations, joints_rest)
        # Each joint maps a point x to R x + (joint - R joint_rest); skinning blends these transforms.
        offsets = joints - torch.einsum("njab,njb->nja", joint_rotations, joints_rest)
        transforms = torch.cat([joint_rotations, offsets.unsqueeze(-1)], dim=-1).flatten(2)
        blended = (self.weights[side] @ transforms).unflatten(-1, (3, 4))
        vertices = (blended[..., :3] @ vertices_rest.unsqueeze(-1)).squeeze(-1) + blended[..., 3]
        tips = vertices.gather(1, self.tip_vertices[side].unsqueeze(-1).expand(-1, -1, 3))
        joints = torch.cat([joints, tips], dim=1)
        if transl is not None:
            vertices, joints = vertices + transl.unsqueeze(1), joints + transl.unsqueeze(1)
        return HandOutput(vertices, joints)

    def _rotations(self, global_orient: Tensor, hand_pose: Tensor, side: Tensor) -> Tensor:
        """Returns the applied local rotations (B, 16, 3, 3)."""
        if global_orient.ndim == 2:
            global_orient = axis_angle_to_matrix(global_orient)
        given_as_matrices = hand_pose.ndim == 4
        if not (given_as_matrices and self.flat_hand_mean):
            if given_as_matrices:
                hand_pose = matrix_to_axis_angle(hand_pose)
            hand_pose = hand_pose.reshape(-1, NUM_JOINTS - 1, 3)
            if not self.flat_hand_mean:
                hand_pose = hand_pose + self.hands_mean[side].unflatten(-1, (NUM_JOINTS - 1, 3))
            hand_pose = axis_angle_to_matrix(hand_pose)
        return torch.cat([global_orient.unsqueeze(1), hand_pose], dim=1)

    def _vertices_rest(self, betas: Tensor, rotations: Tensor, is_right: Tensor) -> Tensor:
        """Returns the vertices before skinning (B, V, 3), with shape and pose blend shapes applied."""
        terms = [torch.ones_like(betas[:, :1]), betas]
        if self.has_posedirs:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            terms.append((rotations[:, 1:] - identity).flatten(1))
        coefficients = torch.cat(terms, dim=-1)
        right = is_right.to(coefficients.dtype).unsqueeze(-1)
        coefficients = torch.cat([coefficients * (1 - right), coefficients * right], dim=-1)
        return (coefficients @ self.blend_dirs).unflatten(-1, (self.num_vertices, 3))


def _blend_matrix(asset: HandAsset) -> np.ndarray:
    """Returns (1 + B + 135, 3 V): template, shape directions and pose directions as rows."""
    rows = [asset.v_template[..., None], asset.shapedirs]
    if asset.posedirs is not None:
        rows.append(asset.posedirs)
    matrix = np.concatenate(rows, axis=-1)
    return matrix.reshape(-1, matrix.shape[-1]).T


def _forward_kinematics(rotations: Tensor, joints_rest: Tensor) -> tuple[Tensor, Tensor]:
    """Computes global rotations (B, 16, 3, 3) and positions (B, 16, 3) from local rotations and rest positions.

    In MANO order the five chains are contiguous with three joints each, so ``1::3`` selects the first joint of every
    finger. This allows one batched step per level of the tree instead of one per joint.
    """
    level_rotations, level_joints = [rotations[:, :1]], [joints_rest[:, :1]]
    parents_rest = joints_rest[:, :1]
    for level in (1, 2, 3):
        parent_rotations, rest = level_rotations[-1], joints_rest[:, level::3]
        step = parent_rotations @ (rest - parents_rest).unsqueeze(-1)
        level_joints.append(level_joints[-1] + step.squeeze(-1))
        level_rotations.append(parent_rotations @ rotations[:, level::3])
        parents_rest = rest

    def in_order(levels: list[Tensor]) -> Tensor:
        return torch.cat([levels[0], torch.stack(levels[1:], dim=2).flatten(1, 2)], dim=1)

    return in_order(level_rotations), in_order(level_joints)
