"""The camera of each image: from CameraInfo, or from what the parameters say instead."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo

from ..geometry.calibration import CalibrationError, IntrinsicsSource
from ..geometry.camera import Camera
from .camera_info import calibration
from .diagnostics import Health
from .parameters import Parameters
from .rejections import InputRejected


class Cameras:
    """Takes each CameraInfo as it comes, from any thread, and gives each image its camera."""

    def __init__(self, topic: str, health: Health):
        """Takes the name of CameraInfo's ``topic``, for messages, and whom to tell of oddities."""
        self._topic, self._health = topic, health
        self._info: CameraInfo | None = None
        self._matched_frame: str | None = None
        self._cached: tuple | None = None

    def add(self, info: CameraInfo) -> None:
        """The newest CameraInfo replaces the one before."""
        self._info = info

    def camera(self, frame_id: str, width: int, height: int, parameters: Parameters) -> tuple[Camera, IntrinsicsSource]:
        """Of an image of this frame and size.

        :raises InputRejected: no CameraInfo, or none that fits.
        """
        guess = ""
        try:
            if parameters.intrinsics == "guess":
                camera = Camera.guess(width, height)
                guess = f"intrinsics are guessed (focal length {camera.focal:.0f} px): depths are not metric, they scale with the true one"
                return camera, IntrinsicsSource.GUESS
            if parameters.intrinsics == "horizontal_fov":
                return Camera.from_fov(width, height, parameters.horizontal_fov), IntrinsicsSource.FIELD_OF_VIEW
            return self._from_info(frame_id, width, height, parameters.rectified)
        finally:
            self._health.note("guess", guess)

    def _from_info(self, frame_id: str, width: int, height: int, rectified: bool) -> tuple[Camera, IntrinsicsSource]:
        info = self._info
        if info is None:
            raise InputRejected(
                "no_camera_info",
                f"images come, but no CameraInfo on {self._topic}: start the camera's calibrated driver, remap camera_info, or set "
                "intrinsics to horizontal_fov or guess",
            )
        self._check_frame(info.header.frame_id, frame_id)
        key = (calibration(info), width, height, rectified)
        if self._cached is None or self._cached[0] != key:
            try:
                self._cached = key, key[0].camera(width, height, rectified)
            except CalibrationError as error:
                raise InputRejected("bad_camera_info", str(error)) from error
        return self._cached[1]

    def _check_frame(self, of_info: str, of_image: str) -> None:
        """Many drivers give the two different frames for good. But a CameraInfo that had images of its own frame says nothing of others."""
        differ = ""
        if of_info == of_image:
            self._matched_frame = of_info
        elif of_info == self._matched_frame:
            raise InputRejected(
                "no_camera_info",
                f"the images are of frame {of_image!r} now, but the last CameraInfo on {self._topic} is of {of_info!r}: another camera's",
            )
        else:
            differ = f"CameraInfo is of frame {of_info!r}, the image of {of_image!r}: do they belong to one camera?"
        self._health.note("frame", differ)
