"""Builds the camera of an image from a stored calibration (the fields of sensor_msgs/CameraInfo)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .lens import standard_lens
from .plausibility import intrinsics_warnings, lens_warnings, seen_fraction

ASPECT_TOLERANCE = 0.005
"""Relative difference between the x and y scales of a resized stream that is attributed to rounding to whole pixels."""

MIN_FOCAL_PER_SIDE = 0.02
"""Smallest plausible focal length over the image side: a pinhole of 176 degrees. Anything less is not in pixels."""


MAX_FOCAL_PER_SIDE = 1000.0
"""Largest plausible focal length over the image side: a field of view of 0.06 degrees."""

MAX_SIDE = 65535
"""Largest image side in pixels that is believed."""

MAX_SKEW = 0.1
"""Largest skew of a camera matrix over its focal length."""

MIN_SEEN = 0.1
"""Fraction of the image for which the lens needs viewing directions; between it and most of the image is a warning."""


class CalibrationError(ValueError):
    """The calibration does not fit the image. The message says why and what to do.

    Example:
        >>> import numpy as np
        >>> from wildhands_ros import CalibrationError, load_calibration
        >>> try:
        ...     load_calibration("camera.yaml").for_image(np.zeros((100, 900, 3), np.uint8))
        ... except CalibrationError:
        ...     print("another aspect ratio")
        another aspect ratio
    """

    def __init__(self, message: str, name: str = "bad_camera_info"):
        """Creates an error.

        Args:
            message: for the user.
            name: the kind of the fault, under which diagnostics count it; lower case with underscores.
        """
        super().__init__(message)
        self.name = name


class IntrinsicsSource(enum.Enum):
    """Where the intrinsics of an image came from. The values match ``wildhands_ros/msg/HandArray``."""

    CAMERA_INFO = 0
    CAMERA_INFO_SCALED = 1
    FIELD_OF_VIEW = 2
    GUESS = 3


@dataclass(frozen=True)
class Calibration:
    """The fields of sensor_msgs/CameraInfo that map rays to pixels.

    ``k``, ``d`` and ``p`` refer to the full, unbinned image of ``width`` x ``height``. ``R`` is omitted because it
    only rotates the axes of the raw image into those of the rectified one.
    """

    width: int
    height: int
    k: tuple[float, ...]
    d: tuple[float, ...] = ()
    distortion_model: str = ""
    p: tuple[float, ...] = (0,) * 12
    binning_x: int = 0
    binning_y: int = 0
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)
    """x_offset, y_offset, width, height in unbinned pixels. A width and height of 0 stand for the full image."""

    def for_image(self, image: np.ndarray, rectified: bool = False) -> Camera:
        """Makes the camera of an image.

        Args:
            image: (H, W, ...) array, of which only the size counts.
            rectified: Whether the image is rectified, so that P applies without distortion. Otherwise K and
                the distortion model apply.

        Raises:
            CalibrationError: The calibration is not usable, or is for images of another aspect ratio.

        Example:
            >>> from wildhands_ros import load_calibration, load_image
            >>> camera = load_calibration("camera.yaml").for_image(load_image("photo.jpg"))
            >>> camera.width, camera.height
            (960, 540)
        """
        return self.camera(image.shape[1], image.shape[0], rectified)[0]

    def camera(self, width: int, height: int, rectified: bool) -> tuple[Camera, IntrinsicsSource]:
        """Builds the camera of an image.

        ROI and binning are applied as in image_geometry. An image of another size is treated as the calibrated image
        resized, if the aspect ratio agrees. The fourth column of P (the baseline of a stereo pair) is ignored: points
        are expressed relative to the centre of this camera.

        Args:
            width: Width of the image in pixels.
            height: Height of the image in pixels.
            rectified: Whether the image is rectified (P, no distortion) or raw (K with the distortion model).

        Returns:
            The camera, and whether the calibration was used as it is or scaled.

        Raises:
            CalibrationError: The intrinsics are missing or invalid, the distortion model is unknown, or the size does
                not fit.
        """
        stream = self._binned_camera(rectified)
        camera, source = self._fitted(stream, width, height)
        seen = seen_fraction(camera)
        if seen < MIN_SEEN:
            raise CalibrationError(
                f"the lens model has a viewing direction for only {100 * seen:.1f} % of the image: with the "
                f"distortion coefficients {list(self.d)} the image folds back onto itself; they may be in another "
                "order, or of another distortion model or image size: calibrate the camera again",
                "lens_folds",
            )
        return camera, source

    def warnings(self, width: int, height: int, rectified: bool) -> list[str]:
        """Returns what is implausible about a camera that ``camera`` makes; empty if nothing is.

        Args:
            width: Width of the image in pixels.
            height: Height of the image in pixels.
            rectified: Whether the image is rectified.

        Raises:
            CalibrationError: as ``camera``.
        """
        camera, source = self.camera(width, height, rectified)
        texts = [*intrinsics_warnings(self._full_camera(rectified)), *lens_warnings(camera)]
        if max(self.binning_x, self.binning_y) > 1 and source is IntrinsicsSource.CAMERA_INFO_SCALED:
            stream = self._binned_camera(rectified)
            if width > stream.width:
                texts.append(
                    f"the CameraInfo has a binning of {self.binning_x}x{self.binning_y}, so images should have "
                    f"{stream.width}x{stream.height} pixels, but they have {width}x{height}: width and height "
                    "may already be those of the binned image; the driver should then set binning to 1"
                )
        if not rectified and any(self.d) and not self.distortion_model.strip():
            texts.append(
                f"the calibration has {len(self.d)} distortion coefficients, but names no distortion model: by their "
                "number they are taken for plumb_bob or rational_polynomial, as in OpenCV; set distortion_model"
            )
        return texts

    def turned(self, degrees: int) -> Calibration:
        """Returns the calibration of the same images turned clockwise, as a video's rotation tag turns them.

        A turned lens is a lens of the same model: radial coefficients stay, tangential ones turn like a vector.

        Args:
            degrees: a multiple of 90.

        Raises:
            CalibrationError: the lens has a tilted sensor or skewed pixels, which cannot be turned.
        """
        if degrees % 360 == 0:
            return self
        model, d = standard_lens(self.distortion_model, self.d)
        k, p = np.array(self.k, np.float64).reshape(3, 3), np.array(self.p, np.float64).reshape(3, 4)
        if k[0, 1] or any(d[12:]):
            raise CalibrationError(
                "a calibration with skew or a tilted sensor cannot be turned with the image: calibrate "
                "with turned images"
            )
        if model in ("plumb_bob", "rational_polynomial") and len(d) >= 4:
            p1, p2, prism = d[2], d[3], d[8:12]
            d = (*d[:2], p2, -p1, *d[4:8], *((-prism[2], -prism[3], prism[0], prism[1]) if prism else ()), *d[12:])
        x0, y0, roi_width, roi_height = self.roi
        has_roi = roi_width > 0 and roi_height > 0
        quarter = Calibration(
            width=self.height,
            height=self.width,
            k=tuple(self._turned_matrix(k).ravel().tolist()),
            d=d,
            distortion_model=model,
            p=tuple(np.hstack([self._turned_matrix(p[:, :3]), np.zeros((3, 1))]).ravel().tolist()),
            binning_x=self.binning_y,
            binning_y=self.binning_x,
            roi=(self.height - y0 - roi_height, x0, roi_height, roi_width) if has_roi else (0, 0, 0, 0),
        )
        return quarter.turned(degrees - 90)

    def _turned_matrix(self, matrix: np.ndarray) -> np.ndarray:
        """Returns the camera matrix after a quarter turn clockwise: pixel (u, v) becomes (height - 1 - v, u)."""
        if not matrix.any():
            return matrix
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        return np.array([[fy, 0, self.height - 1 - cy], [0, fx, cx], [0, 0, 1]])

    def _binned_camera(self, rectified: bool) -> Camera:
        """Returns the camera of the images that ROI and binning produce."""
        full = self._full_camera(rectified)
        x0, y0, roi_width, roi_height = self.roi
        if not roi_width or not roi_height:
            x0, y0, roi_width, roi_height = 0, 0, self.width, self.height
        if x0 + roi_width > self.width or y0 + roi_height > self.height:
            raise CalibrationError(
                f"the ROI of the CameraInfo, {roi_width}x{roi_height} at ({x0}, {y0}), exceeds the calibrated image of "
                f"{self.width}x{self.height}: width and height must be those of the full image",
                "bad_roi",
            )
        binning_x, binning_y = max(self.binning_x, 1), max(self.binning_y, 1)
        if binning_x > roi_width or binning_y > roi_height:
            raise CalibrationError(
                f"the CameraInfo has a binning of {binning_x}x{binning_y}, which leaves no pixel of "
                f"{roi_width}x{roi_height}: the driver may leave it uninitialised; it must be 0 or 1 without binning",
                "bad_binning",
            )
        binning = np.array([[1 / binning_x, 0, 0], [0, 1 / binning_y, 0]])  # image_geometry's convention: no half pixel
        return full.cropped(x0, y0, roi_width, roi_height).transformed(
            binning, roi_width // binning_x, roi_height // binning_y
        )

    def _fitted(self, stream: Camera, width: int, height: int) -> tuple[Camera, IntrinsicsSource]:
        """Returns the camera of an image of this size, and whether it had to be scaled."""
        if (stream.width, stream.height) == (width, height):
            return stream, IntrinsicsSource.CAMERA_INFO
        sx, sy = width / stream.width, height / stream.height
        # In small images, rounding by one pixel exceeds the relative tolerance.
        if abs(sx - sy) > max(ASPECT_TOLERANCE * max(sx, sy), 1 / stream.width, 1 / stream.height):
            text = (
                f"the image is {width}x{height}, but its calibration is for {stream.width}x{stream.height}, which has "
                "another aspect ratio: "
            )
            turned_x, turned_y = width / stream.height, height / stream.width
            if abs(turned_x - turned_y) <= ASPECT_TOLERANCE * max(turned_x, turned_y):
                text += (
                    "width and height are exchanged, so the image may be turned by a quarter (portrait video of a "
                    "phone, a driver that rotates): calibrate the camera in the orientation of these images, or do not "
                    "turn them"
                )
            else:
                text += (
                    "calibrate the camera at this size, or publish the CameraInfo (ROI, binning) that belongs to this "
                    "stream"
                )
            raise CalibrationError(text)
        return stream.resized(width, height), IntrinsicsSource.CAMERA_INFO_SCALED

    def _full_camera(self, rectified: bool) -> Camera:
        if not any((self.width, self.height, *self.k, *self.p)):
            raise CalibrationError(
                "the CameraInfo is empty, so the camera is uncalibrated: calibrate it (camera_calibration), and give "
                "the file to its driver, or use its field of view instead"
            )
        if self.width < 1 or self.height < 1:
            raise CalibrationError(
                f"the image size in the calibration is {self.width}x{self.height}: the camera driver must fill it in",
                "bad_camera_size",
            )
        if max(self.width, self.height) > MAX_SIDE:
            raise CalibrationError(
                f"the image size in the calibration is {self.width}x{self.height}, more than {MAX_SIDE} pixels a side: "
                "the camera driver may leave it uninitialised",
                "bad_camera_size",
            )
        k, p = np.array(self.k, dtype=np.float64).reshape(3, 3), np.array(self.p, dtype=np.float64).reshape(3, 4)
        has_lens = standard_lens(self.distortion_model, self.d)[0] != ""
        if not rectified:
            matrix, name = k, "K"
        elif p.any():
            matrix, name = p[:, :3], "P"
        elif has_lens:
            raise CalibrationError(
                "rectified images need P of the CameraInfo, but P is zero: calibrate the camera so that P is published"
            )
        else:
            matrix, name = k, "K"
        if not np.isfinite(matrix).all():
            raise CalibrationError(f"{name} of the CameraInfo contains NaN or infinity: {matrix.ravel().tolist()}")
        if not matrix[:2].any():
            if p[:2].any():
                raise CalibrationError(
                    "K of the CameraInfo is zero, so raw images are uncalibrated, but P is not: the driver probably "
                    "publishes rectified images; set rectified to true (a parameter of the node, an argument in "
                    "Python), else calibrate the camera (camera_calibration)"
                )
            raise CalibrationError(
                f"{name} of the CameraInfo is zero, so the camera is uncalibrated: calibrate it (camera_calibration)"
            )
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        if fx <= 0 or fy <= 0:
            raise CalibrationError(f"{name} of the CameraInfo has focal lengths {fx:g}, {fy:g}: they must be positive")
        focal_per_side = fx / self.width, fy / self.height
        if min(focal_per_side) < MIN_FOCAL_PER_SIDE or max(focal_per_side) > MAX_FOCAL_PER_SIDE:
            raise CalibrationError(
                f"{name} of the CameraInfo has focal lengths {fx:g}, {fy:g} for a {self.width}x{self.height} image: "
                "they must be in pixels"
            )
        if not (-0.5 <= cx <= self.width - 0.5 and -0.5 <= cy <= self.height - 0.5):
            raise CalibrationError(
                f"{name} of the CameraInfo has its principal point ({cx:g}, {cy:g}) outside the calibrated "
                f"{self.width}x{self.height} image: calibrate the camera again"
            )
        others = matrix - np.array([[fx, matrix[0, 1], cx], [0, fy, cy], [0, 0, 1]])
        if np.abs(others).max() > 1e-6 or abs(matrix[0, 1]) > MAX_SKEW * fx:
            raise CalibrationError(
                f"{name} of the CameraInfo is {matrix.tolist()}, but a camera matrix is fx 0 cx, 0 fy cy, 0 0 1: its "
                "numbers may be in another order (it is row by row)"
            )
        if rectified:
            return Camera(matrix, self.width, self.height)
        model, d = standard_lens(self.distortion_model, self.d)
        try:
            return Camera(matrix, self.width, self.height, model, np.array(d, dtype=np.float64))
        except ValueError as error:
            given = f" (given as {self.distortion_model[:60]!r})" if model != self.distortion_model else ""
            raise CalibrationError(f"the CameraInfo is not usable: {error}{given}", "bad_distortion") from error
