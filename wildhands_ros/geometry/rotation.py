"""Conversions between rotation representations for torch tensors.

NumPy code uses ``so3``, or SciPy where its import does no harm.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Converts (..., 3) axis-angle in radians to (..., 3, 3) matrices (Rodrigues), with finite gradients at zero."""
    # As in smplx, the epsilon keeps the gradient of the square root finite for a zero rotation.
    angle = torch.linalg.vector_norm(axis_angle + 1e-8, dim=-1, keepdim=True)
    x, y, z = (axis_angle / angle).unbind(-1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    angle = angle.unsqueeze(-1)
    identity = torch.eye(3, dtype=k.dtype, device=k.device)
    return identity + torch.sin(angle) * k + (1 - torch.cos(angle)) * (k @ k)


def rotation_6d_to_matrix(rotation_6d: Tensor) -> Tensor:
    """Converts (..., 6) to (..., 3, 3) matrices by Gram-Schmidt (Zhou et al. 2019).

    The six numbers are the first two ROWS of the matrix, as in PyTorch3D and the released WildHands; other models use
    columns.
    """
    a1, a2 = rotation_6d[..., :3], rotation_6d[..., 3:]
    b1 = normalize(a1, dim=-1)
    b2 = normalize(a2 - (b1 * a2).sum(-1, keepdim=True) * b1, dim=-1)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], dim=-2)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Converts (..., 3, 3) matrices to (..., 4) quaternions w, x, y, z.

    The component with the largest magnitude is positive, so w may be negative.
    """
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    diagonal = torch.stack([m[..., i, i] for i in range(3)], dim=-1)  # OpenVINO does not support torch.diagonal
    # ``squares`` is four times the square of each component; the best-conditioned row of 4 q q^T gives the quaternion.
    squares = torch.cat([(1 + trace).unsqueeze(-1), 1 + 2 * diagonal - trace.unsqueeze(-1)], dim=-1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    w2, x2, y2, z2 = squares.unbind(-1)
    rows = torch.stack([w2, wx, wy, wz, wx, x2, xy, xz, wy, xy, y2, yz, wz, xz, yz, z2], dim=-1).unflatten(-1, (4, 4))
    best = squares.argmax(-1)
    row = torch.gather(rows, -2, best[..., None, None].expand_as(rows[..., :1, :])).squeeze(-2)
    return normalize(row, dim=-1)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Converts (..., 3, 3) matrices to (..., 3) axis-angle in radians.

    The conversion uses ``matrix_to_quaternion``, so angles are in [0, 2 pi), as in the released WildHands.
    """
    quaternion = matrix_to_quaternion(matrix)
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    sine = torch.linalg.vector_norm(xyz, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, w)
    small = angle.abs() < 1e-6
    # sin(a/2) / a tends to 1/2 at zero.
    ratio = (sine / angle.masked_fill(small, 1.0)).masked_fill(small, 0.5)
    return xyz / ratio
