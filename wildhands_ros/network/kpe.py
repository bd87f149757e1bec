"""Intrinsics-aware positional encoding (KPE): tells the network where in the camera's field of view a crop lies.

Prakash et al., "3D Hand Pose Estimation in Everyday Egocentric Images", ECCV 2024 (arXiv 2312.06583), section 3.2. A
crop is described by the angles between the optical axis and its centre and corners (sparse) or all its pixels (dense);
sines and cosines of these angles become additional feature channels. The angles are those of the camera model's rays,
so they are correct for any lens.

Differences from the authors' code: its ``pcl`` and ``perspective_correction`` warp the image instead of encoding
anything, and are not implemented here. Its dense map is neither resampled to the crop nor oriented like it; the dense
encodings here are. No published weights need the authors' variant.
"""

from __future__ import annotations

import enum

import numpy as np

from ..geometry.camera import Camera


class Encoding(enum.Enum):
    """What is encoded, and where it is added: to the crop (input) or to the trunk's features (latent)."""

    NONE = "none"
    CENTER = "center"
    """The two angles of the centre, input."""
    CORNER = "corner"
    """The eight angles of the corners, input."""
    CENTER_CORNER = "center+corner"
    """Both, input."""
    CENTER_CORNER_LATENT = "center+corner_latent"
    """Both, latent: the paper's sparse KPE, used by the released model."""
    DENSE = "dense"
    """The two angles of each pixel, input."""
    DENSE_LATENT = "dense_latent"
    """The two angles of each feature cell's centre, latent."""
    CAM_CONV = "cam_conv"
    """The six maps of CAM-Convs (Facil et al., CVPR 2019) at the feature cells' centres, unencoded, latent."""
    SINUSOIDAL_CC = "sinusoidal_cc"
    """Centre and corners as positions in the image instead of angles, latent: independent of the intrinsics."""

    @property
    def at_input(self) -> bool:
        return self in (Encoding.CENTER, Encoding.CORNER, Encoding.CENTER_CORNER, Encoding.DENSE)

    @property
    def is_map(self) -> bool:
        """Whether each pixel of the crop has values of its own."""
        return self in (Encoding.DENSE, Encoding.DENSE_LATENT, Encoding.CAM_CONV)

    @property
    def groups(self) -> tuple[int, ...]:
        """Sizes of the vectors that are encoded one after another."""
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
        """Returns the number of additional feature channels."""
        values = sum(self.groups)
        return values if self is Encoding.CAM_CONV else 2 * n_freq * values


def kpe_values(encoding: Encoding, camera: Camera, corners: np.ndarray, map_size: int) -> np.ndarray:
    """Computes the values of one crop or several, which ``kpe_channels.encode`` turns into channels.

    Args:
        encoding: what is encoded.
        camera: camera of the image from which the crops are cut.
        corners: (..., 4, 2) outer corners of the crops in pixels of that image: top left, bottom left, top right,
            bottom right as seen in the crop. For an upright crop these are (x0, y0), (x0, y1), (x1, y0), (x1, y1).
            Corners outside the lens's field of view are moved to its edge.
        map_size: side of the map of a dense encoding.

    Returns:
        (..., C) float32, or (..., C, map_size, map_size) for a map; C = sum(encoding.groups). Angles in radians, x and
        y alternating.

    Raises:
        ValueError: a crop's centre is outside the lens's field of view.
    """
    corners = np.asarray(corners, dtype=np.float64)
    center = corners.mean(axis=-2, keepdims=True)
    match encoding:
        case Encoding.NONE:
            return np.zeros((*corners.shape[:-2], 0), dtype=np.float32)
        case Encoding.CENTER:
            values = _angles(camera, center, center)
        case Encoding.CORNER:
            values = _angles(camera, corners, center)
        case Encoding.CENTER_CORNER | Encoding.CENTER_CORNER_LATENT:
            values = _angles(camera, np.concatenate([center, corners], axis=-2), center)
        case Encoding.SINUSOIDAL_CC:
            values = _normalized(camera, np.concatenate([center, corners], axis=-2))
        case Encoding.DENSE | Encoding.DENSE_LATENT:
            values = _angles(camera, _grid(corners, map_size), center)
        case Encoding.CAM_CONV:
            grid = _grid(corners, map_size)
            centered = (grid - camera.k[:2, 2]) / (np.array([camera.width, camera.height]) / 2)
            values = np.concatenate([centered, _angles(camera, grid, center), _normalized(camera, grid)], axis=-1)
    several = corners.shape[:-2]
    if encoding.is_map:
        values = np.moveaxis(values.reshape(*several, map_size, map_size, -1), -1, -3)
    else:
        values = values.reshape(*several, -1)
    return values.astype(np.float32)


def _angles(camera: Camera, points: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Returns the angles at (..., N, 2) points. Those outside the field of view are moved into it, towards the centre.

    Args:
        camera: camera of the points.
        points: pixels.
        center: (..., 1, 2) pixels of the centres.
    """
    angles = camera.angles(points)
    unseen = np.isnan(angles).any(axis=-1)
    if not unseen.any():
        return angles
    if np.isnan(camera.angles(center)).any():
        raise ValueError(f"the crop's centre, pixel {center.tolist()}, is outside the lens's field of view")
    centers = np.broadcast_to(center, points.shape)[unseen]
    offsets = points[unseen] - centers
    seen, missed = np.zeros((len(offsets), 1)), np.ones((len(offsets), 1))
    for _ in range(20):
        middle = (seen + missed) / 2
        sees = np.isfinite(camera.angles(centers + middle * offsets)).all(axis=-1, keepdims=True)
        seen, missed = np.where(sees, middle, seen), np.where(sees, missed, middle)
    angles[unseen] = camera.angles(centers + seen * offsets)
    return angles


def _normalized(camera: Camera, points: np.ndarray) -> np.ndarray:
    return 2 * points / np.array([camera.width, camera.height]) - 1


def _grid(corners: np.ndarray, size: int) -> np.ndarray:
    """Returns the (..., size * size, 2) centres of the crops' cells, row by row."""
    top_left, bottom_left, top_right = (corners[..., i, None, None, :] for i in range(3))
    steps = (np.arange(size) + 0.5) / size
    grid = top_left + steps[None, :, None] * (top_right - top_left) + steps[:, None, None] * (bottom_left - top_left)
    return grid.reshape(*corners.shape[:-2], size * size, 2)
