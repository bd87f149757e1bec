"""Intrinsics-aware positional encoding (KPE): tells the network where in the camera's field of view a crop lies.

Prakash et al., "3D Hand Pose Estimation in Everyday Egocentric Images", ECCV 2024 (arXiv 2312.06583), section 3.2; spec 1.2. A crop is
described by the angles of its centre and corners (sparse), or of all its pixels (dense), to the optical axis; sines and cosines of these
angles are added as feature channels. The angles are those of the camera model's rays, so they hold for any lens.

The reference's ``pcl`` and ``perspective_correction`` warp the image instead of encoding anything, and are not built here. Its dense map is
neither resampled to the crop nor the right way round (spec 1.2); the dense encodings here are, and no published weights need the other.
"""

from __future__ import annotations

import enum

import numpy as np
import torch
from torch import Tensor

from ..geometry.camera import Camera


class Encoding(enum.Enum):
    """What is encoded and where it joins: the crop's colours before the trunk (input), or the trunk's features (latent)."""

    NONE = "none"
    CENTER = "center"
    """Two angles of the centre, input."""
    CORNER = "corner"
    """Eight angles of the corners, input."""
    CENTER_CORNER = "center+corner"
    """Both, input."""
    CENTER_CORNER_LATENT = "center+corner_latent"
    """Both, latent: the paper's sparse KPE, used by the released model."""
    DENSE = "dense"
    """Two angles of each pixel, input."""
    DENSE_LATENT = "dense_latent"
    """Two angles of each feature cell's centre, latent."""
    CAM_CONV = "cam_conv"
    """The six maps of CAM-Convs (Facil et al., CVPR 2019) at the feature cells' centres, without sines and cosines, latent."""
    SINUSOIDAL_CC = "sinusoidal_cc"
    """Centre and corners, latent, as positions in the frame instead of angles: knows nothing of the camera."""

    @property
    def at_input(self) -> bool:
        return self in (Encoding.CENTER, Encoding.CORNER, Encoding.CENTER_CORNER, Encoding.DENSE)

    @property
    def is_map(self) -> bool:
        """Whether the values differ from pixel to pixel of the crop."""
        return self in (Encoding.DENSE, Encoding.DENSE_LATENT, Encoding.CAM_CONV)

    @property
    def groups(self) -> tuple[int, ...]:
        """Sizes of the vectors that are encoded one after the other."""
        match self:
            case Encoding.NONE:
                return ()
            case Encoding.CENTER | Encoding.DENSE | Encoding.DENSE_LATENT:
                return (2,)
            case Encoding.CORNER:
                return (8,)
            case Encoding.CAM_CONV:
                return (6,)
            case _:
                return (2, 8)

    def channels(self, n_freq: int) -> int:
        """Number of feature channels added."""
        values = sum(self.groups)
        return values if self is Encoding.CAM_CONV else 2 * n_freq * values


def kpe_values(encoding: Encoding, camera: Camera, corners: np.ndarray, map_size: int) -> np.ndarray:
    """What ``encode`` turns into channels, for one crop.

    ``corners`` (4, 2) are the crop's outer corners in pixels of ``camera``'s image: top left, bottom left, top right, bottom right as seen
    in the crop (for an upright crop (x0, y0), (x0, y1), (x1, y0), (x1, y1)); a turned crop's are its true, turned corners. Those that lie
    outside of what the lens sees are drawn to the edge of it.
    Returns (C,) float32, or (C, map_size, map_size) for a map; C = sum(encoding.groups). Angles are radians, x and y in turn.
    Raises ValueError if the lens does not even see the centre.
    """
    corners = np.asarray(corners, dtype=np.float64)
    center = corners.mean(axis=0)
    match encoding:
        case Encoding.NONE:
            return np.zeros(0, dtype=np.float32)
        case Encoding.CENTER:
            values = _angles(camera, center, center)
        case Encoding.CORNER:
            values = _angles(camera, corners, center)
        case Encoding.CENTER_CORNER | Encoding.CENTER_CORNER_LATENT:
            values = _angles(camera, np.vstack([center, corners]), center)
        case Encoding.SINUSOIDAL_CC:
            values = _normalized(camera, np.vstack([center, corners]))
        case Encoding.DENSE | Encoding.DENSE_LATENT:
            values = _angles(camera, _grid(corners, map_size), center)
        case Encoding.CAM_CONV:
            grid = _grid(corners, map_size)
            centered = (grid - camera.k[:2, 2]) / (np.array([camera.width, camera.height]) / 2)
            values = np.concatenate([centered, _angles(camera, grid, center), _normalized(camera, grid)], axis=-1)
    return (values.transpose(2, 0, 1) if encoding.is_map else values.reshape(-1)).astype(np.float32)


def encode(encoding: Encoding, values: Tensor, n_freq: int, size: int) -> Tensor:
    """(B, C) or (B, C, size, size) values of ``kpe_values`` to (B, encoding.channels(n_freq), size, size)."""
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
    """(..., C) radians to (..., 2 * C * n_freq): sine and cosine of 2^l times each angle, without a factor pi.

    Order, slowest first: frequency l = 0 .. n_freq - 1, entry of ``angles``, [sine, cosine] (spec 1.2).
    """
    frequencies = 2.0 ** torch.arange(n_freq, dtype=angles.dtype, device=angles.device)
    phases = frequencies[:, None] * angles[..., None, :]
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(-3)


def _angles(camera: Camera, points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Angles at (..., 2) points; one that the lens does not see is moved towards the centre until it does."""
    angles = camera.angles(points)
    unseen = np.isnan(angles).any(axis=-1)
    if not unseen.any():
        return angles
    if np.isnan(camera.angles(center)).any():
        raise ValueError(f"the lens does not see the crop's centre, pixel {center.tolist()}")
    offsets = points[unseen] - center
    seen, missed = np.zeros((len(offsets), 1)), np.ones((len(offsets), 1))
    for _ in range(20):
        middle = (seen + missed) / 2
        sees = np.isfinite(camera.angles(center + middle * offsets)).all(axis=-1, keepdims=True)
        seen, missed = np.where(sees, middle, seen), np.where(sees, missed, middle)
    angles[unseen] = camera.angles(center + seen * offsets)
    return angles


def _normalized(camera: Camera, points: np.ndarray) -> np.ndarray:
    return 2 * points / np.array([camera.width, camera.height]) - 1


def _grid(corners: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 2) centres of the cells of the crop, row by row."""
    top_left, bottom_left, top_right, _ = corners
    steps = (np.arange(size) + 0.5) / size
    return top_left + steps[None, :, None] * (top_right - top_left) + steps[:, None, None] * (bottom_left - top_left)
