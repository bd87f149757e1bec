"""The camera model: an affine pixel map over an optional lens distortion over an optional rotation.

Every image operation that keeps straight pixel axes straight (pad, scale, crop, ROI, binning, a turned crop) only multiplies ``k`` from the
left, so any chain of them composes exactly and each crop carries a camera of its own. Pixel centres are at whole numbers (OpenCV, ROS).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from .lens import LENS_MODELS, distort, undistort

GUESSED_FOCAL_PER_SIDE = 1000 / 1920
"""Focal length over the image's longer side that EPIC and Ego4D training assumed (spec section 4): 87.7 degrees of view."""


def scale_affine(sx: float, sy: float) -> np.ndarray:
    """(2, 3) pixel map of ``cv2.resize``: pixel areas scale, so centres move by half a pixel."""
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Camera:
    """Maps directions to pixels: ``pixel = k * distort(rotation @ point)``."""

    k: np.ndarray
    """(3, 3) affine map from normalised image coordinates to pixels; last row 0, 0, 1. A turned crop has entries off the diagonal."""
    width: int
    height: int
    distortion_model: str = ""
    """Name as in sensor_msgs/CameraInfo: "", "plumb_bob", "rational_polynomial" or "equidistant"."""
    d: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Coefficients of the distortion model, in CameraInfo's order."""
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    """(3, 3) from the frame in which points are given into the lens's axes."""

    def __post_init__(self):
        set_field = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - the dataclass is frozen
        set_field("k", np.asarray(self.k, dtype=np.float64).reshape(3, 3))
        set_field("d", np.asarray(self.d, dtype=np.float64).reshape(-1))
        set_field("rotation", np.asarray(self.rotation, dtype=np.float64).reshape(3, 3))
        if not np.isfinite(self.k).all() or not np.allclose(self.k[2], (0, 0, 1)):
            raise ValueError(f"the camera matrix must be finite with a last row of 0, 0, 1; it is {self.k.tolist()}")
        if not np.linalg.det(self.k[:2, :2]) > 0:
            raise ValueError(f"the camera matrix needs positive focal lengths; it is {self.k.tolist()}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a camera's image needs at least one pixel, not {self.width}x{self.height}")
        if self.distortion_model not in LENS_MODELS:
            raise ValueError(
                f"unknown distortion model {self.distortion_model!r}; known: {', '.join(m for m in LENS_MODELS if m)}"
            )
        if not np.isfinite(self.d).all():
            raise ValueError(f"the distortion coefficients must be finite; they are {self.d.tolist()}")
        # Zero coefficients are a pinhole, but for the fisheye: that one is equidistant even then.
        if self.distortion_model != "equidistant" and not self.d.any():
            set_field("distortion_model", "")
            set_field("d", np.zeros(0))
        if len(self.d) not in LENS_MODELS[self.distortion_model]:
            counts = " or ".join(map(str, LENS_MODELS[self.distortion_model]))
            raise ValueError(
                f"distortion model {self.distortion_model!r} takes {counts} coefficients, not {len(self.d)}"
            )

    @classmethod
    def pinhole(cls, fx: float, fy: float, cx: float, cy: float, width: int, height: int) -> Camera:
        return cls(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), width, height)

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov: float) -> Camera:
        """Square pixels, centred, with the given horizontal field of view in radians."""
        if not 0 < horizontal_fov < np.pi:
            raise ValueError(
                f"a pinhole's field of view lies between 0 and 180 degrees; it is {np.degrees(horizontal_fov):g}"
            )
        focal = width / 2 / np.tan(horizontal_fov / 2)
        return cls.pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @classmethod
    def guess(cls, width: int, height: int) -> Camera:
        """The camera assumed where nothing is known (spec section 4). Depths scale with its focal length."""
        focal = GUESSED_FOCAL_PER_SIDE * max(width, height)
        return cls.pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @property
    def focal(self) -> float:
        """Mean focal length in pixels; of a turned crop too."""
        return float(np.mean(np.linalg.norm(self.k[:2, :2], axis=0)))

    @property
    def is_pinhole(self) -> bool:
        return self.distortion_model == ""

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) points or directions to (..., 2) pixels; NaN where the camera cannot see the direction."""
        local = np.asarray(points, dtype=np.float64) @ self.rotation.T
        normalised = distort(local, self.distortion_model, self.d)
        return normalised @ self.k[:2, :2].T + self.k[:2, 2]

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 2) pixels to (..., 3) unit directions; NaN where the lens model has no direction for a pixel."""
        normalised = (np.asarray(pixels, dtype=np.float64) - self.k[:2, 2]) @ np.linalg.inv(self.k[:2, :2]).T
        return undistort(normalised, self.distortion_model, self.d) @ self.rotation

    def angles(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 2) pixels to (..., 2) angles atan2(x, z), atan2(y, z) of their rays: KPE's angles (spec 1.2) for any lens."""
        x, y, z = np.moveaxis(self.rays(pixels), -1, 0)
        return np.stack([np.arctan2(x, z), np.arctan2(y, z)], axis=-1)

    def transformed(self, affine: np.ndarray, width: int, height: int) -> Camera:
        """The camera of the image that ``cv2.warpAffine`` makes with this (2, 3) source-to-destination pixel map."""
        return replace(self, k=np.vstack([affine, (0, 0, 1)]) @ self.k, width=width, height=height)

    def padded(self, left: int, top: int, right: int, bottom: int) -> Camera:
        return self.cropped(-left, -top, self.width + left + right, self.height + top + bottom)

    def cropped(self, x0: float, y0: float, width: int, height: int) -> Camera:
        """The camera of the window whose top left pixel is (x0, y0); the window may reach over the image's edge."""
        return self.transformed(np.array([[1, 0, -x0], [0, 1, -y0]], dtype=np.float64), width, height)

    def scaled(self, sx: float, sy: float) -> Camera:
        """The camera of the image after ``cv2.resize``."""
        return self.transformed(scale_affine(sx, sy), round(self.width * sx), round(self.height * sy))

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the image resized to this size."""
        return self.transformed(scale_affine(width / self.width, height / self.height), width, height)

    def undistorted(self) -> Camera:
        """The pinhole with the same ``k``, size and orientation."""
        return replace(self, distortion_model="", d=np.zeros(0))


def rectification_maps(source: Camera, target: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Two (H, W) float32 maps for ``cv2.remap`` that turn an image of ``source`` into one of ``target``; both see the same points.

    Pixels of ``target`` that ``source`` cannot see map outside of the image.
    """
    grid = np.stack(np.meshgrid(np.arange(target.width), np.arange(target.height)), axis=-1)
    pixels = np.nan_to_num(source.project(target.rays(grid)), nan=-1e4).astype(np.float32)
    return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])


def rectify(image: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The image that the maps describe, black where nothing was seen."""
    return cv2.remap(image, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def in_image(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """(...,) bool: which (..., 2) pixels lie in a ``width`` x ``height`` image. NaN does not."""
    return ((pixels >= -0.5) & (pixels < (width - 0.5, height - 0.5))).all(axis=-1)
