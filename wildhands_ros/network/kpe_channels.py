"""Feature channels of the intrinsics-aware positional encoding; ``kpe`` computes the values that are encoded."""

from __future__ import annotations

import torch
from torch import Tensor

from .kpe import Encoding


def encode(encoding: Encoding, values: Tensor, n_freq: int, size: int) -> Tensor:
    """Encodes values of ``kpe_values``, (B, C) or (B, C, size, size), as (B, encoding.channels(n_freq), size, size)."""
    if encoding is Encoding.NONE:
        return values.new_zeros(len(values), 0, size, size)
    if encoding.is_map:
        values = values.movedim(1, -1)
    if encoding is not Encoding.CAM_CONV:
        values = torch.cat([encode_angles(group, n_freq) for group in values.split(encoding.groups, dim=-1)], dim=-1)
    if encoding.is_map:
        return values.movedim(-1, 1)
    return values[:, :, None, None].expand(-1, -1, size, size)


def encode_angles(angles: Tensor, n_freq: int) -> Tensor:
    """Encodes (..., C) radians as (..., 2 * C * n_freq): sine and cosine of 2^l times each angle, without a factor pi.

    Order, slowest index first: frequency l = 0 .. n_freq - 1, entry of ``angles``, [sine, cosine], as in the authors'
    code.
    """
    frequencies = 2.0 ** torch.arange(n_freq, dtype=angles.dtype, device=angles.device)
    phases = frequencies[:, None] * angles[..., None, :]
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(-3)
