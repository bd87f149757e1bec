"""Builds the camera of an image from a stored calibration (the fields of sensor_msgs/CameraInfo)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from .camera import Camera

ASPECT_TOLERANCE = 0.005
"""Relative difference between the x and y scales of a resized stream that is attributed to rounding to whole pixels."""

MIN_FOCAL_PER_SIDE = 0.02
"""Smallest plausible focal length over the image side: a pinhole of 176 degrees. Anything less is not in pixels."""


class CalibrationError(ValueError):
    """The calibration does not fit the image. The message says why and what to do."""


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
        full = self._full_camera(rectified)
        x0, y0, roi_width, roi_height = self.roi
        if not roi_width or not roi_height:
            x0, y0, roi_width, roi_height = 0, 0, self.width, self.height
        if x0 + roi_width > self.width or y0 + roi_height > self.height:
            raise CalibrationError(
                f"the ROI of the CameraInfo, {roi_width}x{roi_height} at ({x0}, {y0}), exceeds the calibrated image of "
                f"{self.width}x{self.height}: width and height must be those of the full image"
            )
        binning_x, binning_y = max(self.binning_x, 1), max(self.binning_y, 1)
        binning = np.array([[1 / binning_x, 0, 0], [0, 1 / binning_y, 0]])  # image_geometry's convention: no half pixel
        stream = full.cropped(x0, y0, roi_width, roi_height).transformed(
            binning, roi_width // binning_x, roi_height // binning_y
        )
        if (stream.width, stream.height) == (width, height):
            return stream, IntrinsicsSource.CAMERA_INFO
        sx, sy = width / stream.width, height / stream.height
        # In small images, rounding by one pixel exceeds the relative tolerance.
        if abs(sx - sy) > max(ASPECT_TOLERANCE * max(sx, sy), 1 / stream.width, 1 / stream.height):
            raise CalibrationError(
                f"the image is {width}x{height}, but its calibration is for {stream.width}x{stream.height}, which has "
                "another aspect ratio: calibrate the camera at this size, or publish the CameraInfo (ROI, binning) "
                "that belongs to this stream"
            )
        return stream.resized(width, height), IntrinsicsSource.CAMERA_INFO_SCALED

    def _full_camera(self, rectified: bool) -> Camera:
        if self.width < 1 or self.height < 1:
            raise CalibrationError(
                f"the image size in the calibration is {self.width}x{self.height}: the camera driver must fill it in"
            )
        k, p = np.array(self.k, dtype=np.float64).reshape(3, 3), np.array(self.p, dtype=np.float64).reshape(3, 4)
        has_lens = self.distortion_model == "equidistant" or np.any(self.d)
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
        if not matrix.any():
            raise CalibrationError(
                f"{name} of the CameraInfo is zero, so the camera is uncalibrated: calibrate it (camera_calibration)"
            )
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        if fx <= 0 or fy <= 0:
            raise CalibrationError(f"{name} of the CameraInfo has focal lengths {fx:g}, {fy:g}: they must be positive")
        if min(fx / self.width, fy / self.height) < MIN_FOCAL_PER_SIDE:
            raise CalibrationError(
                f"{name} of the CameraInfo has focal lengths {fx:g}, {fy:g} for a {self.width}x{self.height} image: "
                "they must be in pixels"
            )
        if not (-0.5 <= cx <= self.width - 0.5 and -0.5 <= cy <= self.height - 0.5):
            raise CalibrationError(
                f"{name} of the CameraInfo has its principal point ({cx:g}, {cy:g}) outside the calibrated "
                f"{self.width}x{self.height} image: calibrate the camera again"
            )
        try:
            if rectified:
                return Camera(matrix, self.width, self.height)
            return Camera(matrix, self.width, self.height, self.distortion_model, np.array(self.d, dtype=np.float64))
        except ValueError as error:
            raise CalibrationError(f"the CameraInfo is not usable: {error}") from error
