"""Intrinsics for images and videos: from a ROS calibration file, a field of view or a guess."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from ..geometry.calibration import Calibration, CalibrationError, IntrinsicsSource
from ..geometry.camera import Camera
from .calibration_formats import read_calibration
from .errors import foreign_bytes


def load_calibration(path: str | Path) -> Calibration:
    """Reads a camera calibration.

    Formats: the YAML files of ROS's camera_calibration and camera_info_manager and of OpenCV, the output of
    ``ros2 topic echo --once camera_info``, Kalibr's camera chain with one camera, and the INI files of
    camera_calibration_parsers.

    Args:
        path: the file.

    Returns:
        The calibration; ``Calibration.for_image`` makes the camera of an image from it.

    Raises:
        CalibrationError: the file is no calibration; the message names the key that is missing or wrong.
        OSError: the file cannot be read.

    Example:
        >>> from wildhands_ros import load_calibration, load_image
        >>> calibration = load_calibration("camera.yaml")
        >>> camera = calibration.for_image(load_image("photo.jpg"))
        >>> camera.width, camera.height, camera.distortion_model
        (960, 540, 'plumb_bob')
    """
    with foreign_bytes(path, "a calibration file", CalibrationError):
        try:
            return read_calibration(Path(path))
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}", error.name) from error


def calibration_yaml(camera: Camera, name: str) -> str:
    """Returns the text of a calibration file, as ``load_calibration`` and ROS's camera_info_manager read it.

    Args:
        camera: a camera that is not rotated.
        name: the value of ``camera_name``.
    """
    k, undistorted = camera.k.ravel().tolist(), camera.undistorted().k
    p = [*undistorted[0].tolist(), 0.0, *undistorted[1].tolist(), 0.0, *undistorted[2].tolist(), 0.0]
    coefficients = camera.d.tolist() or [0.0] * 5
    data = {
        "image_width": camera.width,
        "image_height": camera.height,
        "camera_name": name,
        "camera_matrix": {"rows": 3, "cols": 3, "data": k},
        "distortion_model": camera.distortion_model or "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": len(coefficients), "data": coefficients},
        "rectification_matrix": {"rows": 3, "cols": 3, "data": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]},
        "projection_matrix": {"rows": 3, "cols": 4, "data": p},
    }
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None)


class Intrinsics:
    """Makes the camera of each image."""

    def __init__(self, calibration: Calibration | None = None, fov_degrees: float | None = None):
        """With neither argument, intrinsics are guessed.

        Args:
            calibration: calibration of the raw (unrectified) images.
            fov_degrees: horizontal field of view.
        """
        self._calibration = calibration
        self._fov_degrees = fov_degrees

    def camera(self, width: int, height: int, rotation: int = 0) -> tuple[Camera, IntrinsicsSource]:
        """Returns the camera of an image, and where its intrinsics come from.

        Args:
            width: width of the image in pixels.
            height: height of the image in pixels.
            rotation: degrees by which the image was turned clockwise when it was read (``Frame.rotation``).

        Raises:
            CalibrationError: the calibration is for images of another aspect ratio, or is not usable.
        """
        if self._calibration is not None:
            calibration = self._turned(self._calibration, width, height, rotation)
            return calibration.camera(width, height, rectified=False)
        if self._fov_degrees is not None:
            try:
                return Camera.from_fov(width, height, math.radians(self._fov_degrees)), IntrinsicsSource.FIELD_OF_VIEW
            except ValueError as error:
                raise CalibrationError(str(error)) from error
        return Camera.guess(width, height), IntrinsicsSource.GUESS

    def warnings(self, width: int, height: int, rotation: int = 0) -> list[str]:
        """Returns what is doubtful about the camera that ``camera`` makes: guessed or implausible intrinsics.

        Raises:
            CalibrationError: as ``camera``.
        """
        if self._calibration is not None:
            calibration = self._turned(self._calibration, width, height, rotation)
            texts = calibration.warnings(width, height, rectified=False)
            if calibration is not self._calibration:
                texts.append(
                    f"the rotation tag of the file turns the image by {rotation} degrees: the calibration, which is "
                    f"for {self._calibration.width}x{self._calibration.height}, is turned with it"
                )
            return texts
        camera, source = self.camera(width, height)
        return [guess_warning(camera)] if source is IntrinsicsSource.GUESS else []

    @staticmethod
    def _turned(calibration: Calibration, width: int, height: int, rotation: int) -> Calibration:
        """Returns the calibration turned with the image, if it is not already that of the turned image."""
        is_turned = (width - height) * (calibration.width - calibration.height) < 0
        return calibration.turned(rotation) if is_turned and rotation % 180 == 90 else calibration


def guess_warning(camera: Camera) -> str:
    """Returns a warning that says which intrinsics were guessed and what that means for the estimates."""
    fov = math.degrees(2 * math.atan(camera.width / 2 / camera.k[0, 0]))
    return (
        f"the camera's intrinsics are unknown; guessed for {camera.width}x{camera.height}: f = {camera.k[0, 0]:.1f} px "
        f"({fov:.1f} degrees horizontally), centred, no distortion. Depths and positions scale with f: "
        "twice the true f, twice the distance. Give --camera-info or --fov for metric results."
    )
