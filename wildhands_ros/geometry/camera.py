"""The camera model: an optional rotation, an optional lens distortion, and an affine map to pixels.

Every affine image operation (padding, scaling, cropping, ROI, binning, a rotated crop) only multiplies ``k`` from the
left. Chains of such operations therefore compose exactly, and every crop has its own camera. Pixel centres are at
whole numbers, as in OpenCV and ROS.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from .lens import LENS_MODELS, MAX_COEFFICIENT, distort, undistort

GUESSED_FOCAL_PER_SIDE = 1000 / 1920
"""Focal length over the longer image side that WildHands assumes for EPIC and Ego4D images: 87.7 degrees of view."""


def scale_affine(sx: float, sy: float) -> np.ndarray:
    """Returns the (2, 3) pixel map of ``cv2.resize``: it scales pixel areas, so pixel centres move by half a pixel."""
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]], dtype=np.float64)


_LAST_ROW = np.array([0.0, 0, 1])
_LEAST_DETERMINANT = 1e-9
"""Determinant of the first two rows and columns of a camera matrix, over the square of their largest number."""
_LARGEST_FOCAL = 1e12
"""Pixels."""


@dataclass(frozen=True, eq=False)
class Camera:
    """Maps directions to pixels: ``pixel = k * distort(rotation @ point)``."""

    k: np.ndarray
    """(3, 3) affine map from normalised image coordinates to pixels.

    Its last row is 0, 0, 1. Rotated crops have off-diagonal entries.
    """
    width: int
    height: int
    distortion_model: str = ""
    """As in sensor_msgs/CameraInfo: "plumb_bob", "rational_polynomial" or "equidistant"; "" for a pinhole."""
    d: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """Coefficients of the distortion model, in the order of CameraInfo."""
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    """(3, 3) rotation from the frame in which points are given to the optical axes of the lens."""

    def __post_init__(self):
        set_field = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 - the dataclass is frozen
        set_field("k", np.asarray(self.k, dtype=np.float64).reshape(3, 3))
        set_field("d", np.asarray(self.d, dtype=np.float64).reshape(-1))
        set_field("rotation", np.asarray(self.rotation, dtype=np.float64).reshape(3, 3))
        if not np.isfinite(self.k).all() or (np.abs(self.k[2] - _LAST_ROW) > 1e-8).any():
            raise ValueError(f"the camera matrix must be finite and its last row 0, 0, 1, but it is {self.k.tolist()}")
        (a, b), (c, d) = self.k[:2, :2].tolist()
        if not a * d - b * c > 0:
            raise ValueError(f"the focal lengths of the camera matrix must be positive, but it is {self.k.tolist()}")
        largest = max(map(abs, (a, b, c, d)))
        if not (a * d - b * c > _LEAST_DETERMINANT * largest * largest and largest < _LARGEST_FOCAL):
            raise ValueError(f"the camera matrix of no camera can be {self.k.tolist()}: its numbers differ too much")
        if self.width < 1 or self.height < 1:
            raise ValueError(
                f"the image of a camera needs at least one pixel, but its size is {self.width}x{self.height}"
            )
        if self.distortion_model not in LENS_MODELS:
            supported = ", ".join(model for model in LENS_MODELS if model)
            raise ValueError(f"unknown distortion model {self.distortion_model[:60]!r}; supported: {supported}")
        most = max(max(counts) for counts in LENS_MODELS.values())
        if len(self.d) > most:
            raise ValueError(
                f"there are {len(self.d)} distortion coefficients, but no distortion model has over {most}"
            )
        if not np.isfinite(self.d).all():
            raise ValueError(f"the distortion coefficients must be finite, but they are {self.d.tolist()}")
        if (np.abs(self.d) > MAX_COEFFICIENT).any():
            raise ValueError(
                f"the distortion coefficients must be below {MAX_COEFFICIENT:g}, but they are {self.d.tolist()}"
            )
        # With zero coefficients the polynomial models are a pinhole; the fisheye model is still equidistant.
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
        """Builds a camera without distortion from focal lengths and principal point in pixels."""
        return cls(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), width, height)

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov: float) -> Camera:
        """Builds a centred pinhole camera with square pixels and a horizontal field of view in radians."""
        if not 0 < horizontal_fov < np.pi:
            degrees = np.degrees(horizontal_fov)
            raise ValueError(f"the field of view of a pinhole must be between 0 and 180 degrees, but it is {degrees:g}")
        focal = width / 2 / np.tan(horizontal_fov / 2)
        return cls.pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @classmethod
    def for_image(cls, image: np.ndarray, fov_degrees: float | None = None) -> Camera:
        """Makes a pinhole camera for an image without a calibration.

        For a calibrated camera use ``load_calibration(path).for_image(image)``.

        Args:
            image: (H, W, ...) array, of which only the size counts.
            fov_degrees: Horizontal field of view in degrees. None assumes a typical camera (``guess``); distances
                are then not metric.

        Raises:
            ValueError: the field of view does not lie between 0 and 180 degrees.

        Example:
            >>> import numpy as np
            >>> from wildhands_ros import Camera
            >>> camera = Camera.for_image(np.zeros((480, 640, 3), np.uint8), fov_degrees=90)
            >>> float(round(camera.k[0, 0]))
            320.0
        """
        height, width = image.shape[:2]
        if fov_degrees is None:
            return cls.guess(width, height)
        return cls.from_fov(width, height, float(np.radians(fov_degrees)))

    @classmethod
    def guess(cls, width: int, height: int) -> Camera:
        """Builds the camera that is assumed if no calibration is known.

        Estimated depths scale with its focal length.
        """
        focal = GUESSED_FOCAL_PER_SIDE * max(width, height)
        return cls.pinhole(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)

    @cached_property
    def _to_normalised(self) -> np.ndarray:
        """(2, 2) inverse of the linear part of ``k``."""
        return np.linalg.inv(self.k[:2, :2])

    @property
    def focal(self) -> float:
        """Mean focal length in pixels, also valid for a rotated crop."""
        return float(np.mean(np.linalg.norm(self.k[:2, :2], axis=0)))

    @property
    def is_pinhole(self) -> bool:
        return self.distortion_model == ""

    def project(self, points: np.ndarray) -> np.ndarray:
        """Maps (..., 3) points or directions to (..., 2) pixels; NaN where the camera cannot see the direction."""
        local = np.asarray(points, dtype=np.float64) @ self.rotation.T
        normalised = distort(local, self.distortion_model, self.d)
        return normalised @ self.k[:2, :2].T + self.k[:2, 2]

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Maps (..., 2) pixels to (..., 3) unit directions; NaN where the lens model has no direction for a pixel."""
        normalised = (np.asarray(pixels, dtype=np.float64) - self.k[:2, 2]) @ self._to_normalised.T
        return undistort(normalised, self.distortion_model, self.d) @ self.rotation

    def angles(self, pixels: np.ndarray) -> np.ndarray:
        """Maps (..., 2) pixels to (..., 2) angles atan2(x, z), atan2(y, z) of their rays, as the KPE uses them."""
        x, y, z = np.moveaxis(self.rays(pixels), -1, 0)
        return np.stack([np.arctan2(x, z), np.arctan2(y, z)], axis=-1)

    def transformed(self, affine: np.ndarray, width: int, height: int) -> Camera:
        """Returns the camera of the image after ``cv2.warpAffine`` with this (2, 3) source-to-destination map."""
        return replace(self, k=np.vstack([affine, (0, 0, 1)]) @ self.k, width=width, height=height)

    def padded(self, left: int, top: int, right: int, bottom: int) -> Camera:
        """Returns the camera of the image after ``cv2.copyMakeBorder`` with these border widths."""
        return self.cropped(-left, -top, self.width + left + right, self.height + top + bottom)

    def cropped(self, x0: float, y0: float, width: int, height: int) -> Camera:
        """Returns the camera of the window whose top left pixel is (x0, y0); it may exceed the image."""
        return self.transformed(np.array([[1, 0, -x0], [0, 1, -y0]], dtype=np.float64), width, height)

    def scaled(self, sx: float, sy: float) -> Camera:
        """Returns the camera of the image after ``cv2.resize`` by these factors."""
        return self.transformed(scale_affine(sx, sy), round(self.width * sx), round(self.height * sy))

    def resized(self, width: int, height: int) -> Camera:
        """Returns the camera of the image resized to this size."""
        return self.transformed(scale_affine(width / self.width, height / self.height), width, height)

    def undistorted(self) -> Camera:
        """Returns the pinhole camera with the same ``k``, size and orientation."""
        return replace(self, distortion_model="", d=np.zeros(0))


def rectification_maps(source: Camera, target: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Computes the maps for ``cv2.remap`` that turn an image of ``source`` into an image of ``target``.

    Args:
        source: Camera of the given image.
        target: Camera of the resulting image, at the same place.

    Returns:
        Two (H, W) float32 maps. Pixels of ``target`` that ``source`` cannot see map outside the image.
    """
    grid = np.stack(np.meshgrid(np.arange(target.width), np.arange(target.height)), axis=-1)
    pixels = np.nan_to_num(source.project(target.rays(grid)), nan=-1e4).astype(np.float32)
    return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])


def rectify(image: np.ndarray, maps: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Applies ``rectification_maps`` to an image; unseen pixels are black."""
    return cv2.remap(image, *maps, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def in_image(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Returns (...,) bool: which of the (..., 2) pixels lie in an image of this size. NaN does not."""
    return np.asarray(((pixels >= -0.5) & (pixels < (width - 0.5, height - 0.5))).all(axis=-1))
