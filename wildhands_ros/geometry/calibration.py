"""From a stored calibration (the fields of sensor_msgs/CameraInfo) to the camera of the image at hand."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from .camera import Camera

ASPECT_TOLERANCE = 0.005
"""Relative difference of the two scales of a resized stream that rounding to whole pixels may explain."""

MIN_FOCAL_PER_SIDE = 0.02
"""A pinhole of 176 degrees; less means that the matrix is not in pixels."""


class CalibrationError(ValueError):
    """The calibration cannot describe the image; the message says why and what to do."""


class IntrinsicsSource(enum.Enum):
    """Where a frame's intrinsics came from; the values are those of ``wildhands_ros/msg/HandArray``."""

    CAMERA_INFO = 0
    CAMERA_INFO_SCALED = 1
    FIELD_OF_VIEW = 2
    GUESS = 3


@dataclass(frozen=True)
class Calibration:
    """What sensor_msgs/CameraInfo says of where in an image a ray lies.

    ``k``, ``d`` and ``p`` refer to the full, unbinned image of ``width`` x ``height``. R is left out: it turns the raw image's axes to the
    rectified one's.
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
    """x_offset, y_offset, width, height in unbinned pixels; a width and height of 0 mean the full image."""

    def camera(self, width: int, height: int, rectified: bool) -> tuple[Camera, IntrinsicsSource]:
        """The camera of a ``width`` x ``height`` image: raw (K with the lens) or ``rectified`` (P, no lens).

        ROI and binning apply as in image_geometry. A stream of another size is taken as the calibrated image resized when the aspect
        agrees. The fourth column of P (a stereo pair's baseline) does not apply: points are in the frame of this camera's own centre.

        :raises CalibrationError: no or broken intrinsics, an unknown lens model, or a size that does not fit.
        """
        full = self._full_camera(rectified)
        x0, y0, roi_width, roi_height = self.roi
        if not roi_width or not roi_height:
            x0, y0, roi_width, roi_height = 0, 0, self.width, self.height
        if x0 + roi_width > self.width or y0 + roi_height > self.height:
            raise CalibrationError(
                f"CameraInfo's ROI, {roi_width}x{roi_height} at ({x0}, {y0}), reaches out of the calibrated image of "
                f"{self.width}x{self.height}: width and height must be the full image's"
            )
        binning_x, binning_y = max(self.binning_x, 1), max(self.binning_y, 1)
        binning = np.array([[1 / binning_x, 0, 0], [0, 1 / binning_y, 0]])  # image_geometry's convention: no half pixel
        stream = full.cropped(x0, y0, roi_width, roi_height).transformed(
            binning, roi_width // binning_x, roi_height // binning_y
        )
        if (stream.width, stream.height) == (width, height):
            return stream, IntrinsicsSource.CAMERA_INFO
        sx, sy = width / stream.width, height / stream.height
        # One pixel of rounding is allowed to small images beyond the tolerance.
        if abs(sx - sy) > max(ASPECT_TOLERANCE * max(sx, sy), 1 / stream.width, 1 / stream.height):
            raise CalibrationError(
                f"the image is {width}x{height}, but its calibration is for {stream.width}x{stream.height} and the aspect differs: "
                "calibrate the camera at this size, or publish the CameraInfo (ROI, binning) that belongs to this stream"
            )
        return stream.resized(width, height), IntrinsicsSource.CAMERA_INFO_SCALED

    def _full_camera(self, rectified: bool) -> Camera:
        if self.width < 1 or self.height < 1:
            raise CalibrationError(
                f"the calibration's image size is {self.width}x{self.height}: the camera driver must fill it in"
            )
        k, p = np.array(self.k, dtype=np.float64).reshape(3, 3), np.array(self.p, dtype=np.float64).reshape(3, 4)
        has_lens = self.distortion_model == "equidistant" or np.any(self.d)
        if not rectified:
            matrix, name = k, "K"
        elif p.any():
            matrix, name = p[:, :3], "P"
        elif has_lens:
            raise CalibrationError(
                "a rectified image needs CameraInfo's P, but P is zero: calibrate the camera so that P is published"
            )
        else:
            matrix, name = k, "K"
        if not np.isfinite(matrix).all():
            raise CalibrationError(f"CameraInfo's {name} holds NaN or infinity: {matrix.ravel().tolist()}")
        if not matrix.any():
            raise CalibrationError(
                f"CameraInfo's {name} is all zero, which means uncalibrated: calibrate the camera (camera_calibration)"
            )
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        if fx <= 0 or fy <= 0:
            raise CalibrationError(f"CameraInfo's {name} has focal lengths {fx:g}, {fy:g}: they must be positive")
        if min(fx / self.width, fy / self.height) < MIN_FOCAL_PER_SIDE:
            raise CalibrationError(
                f"CameraInfo's {name} has focal lengths {fx:g}, {fy:g} for a {self.width}x{self.height} image: they must be in pixels"
            )
        if not (-0.5 <= cx <= self.width - 0.5 and -0.5 <= cy <= self.height - 0.5):
            raise CalibrationError(
                f"CameraInfo's {name} has its principal point ({cx:g}, {cy:g}) outside of the calibrated {self.width}x{self.height} image"
            )
        try:
            if rectified:
                return Camera(matrix, self.width, self.height)
            return Camera(matrix, self.width, self.height, self.distortion_model, self.d)
        except ValueError as error:
            raise CalibrationError(f"CameraInfo cannot be used: {error}") from error
