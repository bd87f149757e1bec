"""The camera of each image: from CameraInfo, or from the parameters that replace it."""

from __future__ import annotations

from typing import NamedTuple

from sensor_msgs.msg import CameraInfo

from ..geometry.calibration import Calibration, CalibrationError, IntrinsicsSource
from ..geometry.camera import Camera
from .camera_info import calibration
from .diagnostics import Health
from .parameters import Parameters
from .rejections import InputRejected

MATCHES_TO_RELY_ON = 3
"""Consecutive images in the frame of the CameraInfo after which both are expected to have the same frame. One alone may
be a damaged message, or another camera's."""


class ImageCamera(NamedTuple):
    """The camera of an image, and where its intrinsics come from."""

    camera: Camera
    source: IntrinsicsSource


class _FromInfo(NamedTuple):
    image_camera: ImageCamera
    warning: str
    """What is implausible about the calibration; empty if nothing is."""


class _CacheKey(NamedTuple):
    calibration: Calibration
    width: int
    height: int
    rectified: bool


class Cameras:
    """Keeps the latest CameraInfo and determines the camera of each image; ``add`` may be called from any thread."""

    def __init__(self, topic: str, health: Health):
        """Initialises the cameras without a CameraInfo.

        Args:
            topic: resolved name of the CameraInfo topic, for error messages.
            health: receives warnings.
        """
        self._topic, self._health = topic, health
        self.offered: tuple[str, ...] = ()
        """Topics on which CameraInfo is published, which are named as long as none has arrived."""
        self._info: CameraInfo | None = None
        self._matched_frame = ""
        self._matches = 0
        self._cached_key: _CacheKey | None = None
        self._cached: _FromInfo | None = None

    @property
    def has_info(self) -> bool:
        """Whether a CameraInfo has arrived."""
        return self._info is not None

    def add(self, info: CameraInfo) -> None:
        """Replaces the previous CameraInfo."""
        self._info = info

    def camera(self, frame_id: str, width: int, height: int, parameters: Parameters) -> ImageCamera:
        """Returns the camera of an image with this TF frame and size.

        Raises:
            InputRejected: there is no CameraInfo, or it does not fit the image.
        """
        warning = implausible = ""
        try:
            if parameters.intrinsics == "guess":
                camera = Camera.guess(width, height)
                warning = (
                    f"intrinsics are guessed (focal length {camera.focal:.0f} px): depths are not metric, "
                    "they scale with the true focal length"
                )
                return ImageCamera(camera, IntrinsicsSource.GUESS)
            if parameters.intrinsics == "horizontal_fov":
                camera = Camera.from_fov(width, height, parameters.horizontal_fov)
                return ImageCamera(camera, IntrinsicsSource.FIELD_OF_VIEW)
            camera_from_info, implausible = self._from_info(frame_id, width, height, parameters.rectified)
            return camera_from_info
        finally:
            self._health.set_warning("implausible_calibration", implausible)
            self._health.set_warning("guessed_intrinsics", warning)

    def _from_info(self, frame_id: str, width: int, height: int, rectified: bool) -> _FromInfo:
        info = self._info
        if info is None:
            elsewhere = f" (it is published on {', '.join(self.offered)})" if self.offered else ""
            raise InputRejected(
                "no_camera_info",
                f"images arrive, but no CameraInfo on {self._topic}: start a calibrated camera driver, remap "
                f"camera_info{elsewhere}, or set intrinsics to horizontal_fov or guess",
            )
        self._check_frame(info.header.frame_id, frame_id)
        return self._scaled(info, width, height, rectified)

    def check_size(self, width: int, height: int, parameters: Parameters) -> None:
        """Rejects the size of an image before it is decoded, if the latest CameraInfo is known not to fit it.

        Raises:
            InputRejected: it does not fit.
        """
        info = self._info
        if info is not None and parameters.intrinsics == "camera_info":
            self._scaled(info, width, height, parameters.rectified)

    def _scaled(self, info: CameraInfo, width: int, height: int, rectified: bool) -> _FromInfo:
        key = _CacheKey(calibration(info), width, height, rectified)
        if self._cached is None or self._cached_key != key:
            try:
                image_camera = ImageCamera(*key.calibration.camera(width, height, rectified))
                warnings = key.calibration.warnings(width, height, rectified)
            except CalibrationError as error:
                raise InputRejected(error.name, str(error)) from error
            self._cached = _FromInfo(image_camera, "; ".join(warnings))
            self._cached_key = key
        return self._cached

    def _check_frame(self, info_frame: str, image_frame: str) -> None:
        """Rejects the CameraInfo of another camera.

        Many drivers always send images and CameraInfo with different frames, which is only a warning. But once several
        images in a row have arrived in the frame of the CameraInfo, it does not apply to images in another frame.
        """
        warning = ""
        if info_frame == image_frame:
            self._matches = self._matches + 1 if info_frame == self._matched_frame else 1
            self._matched_frame = info_frame
        elif info_frame == self._matched_frame and self._matches >= MATCHES_TO_RELY_ON:
            raise InputRejected(
                "no_camera_info",
                f"images are now in frame {image_frame!r}, but the last CameraInfo on {self._topic} is in frame "
                f"{info_frame!r}: it belongs to another camera",
            )
        else:
            self._matches = 0
            warning = (
                f"CameraInfo is in frame {info_frame!r}, but the image is in frame {image_frame!r}: "
                "do they belong to the same camera?"
            )
        self._health.set_warning("camera_info_frame", warning)
