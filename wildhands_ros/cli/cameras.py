"""The camera of each frame of a file or stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..io.progress import warn

if TYPE_CHECKING:
    from ..geometry.calibration import IntrinsicsSource
    from ..geometry.camera import Camera
    from ..io.camera_files import Intrinsics
    from ..io.sources import Frame


@dataclass(frozen=True)
class FrameCamera:
    """A camera and where its intrinsics come from."""

    camera: Camera
    origin: IntrinsicsSource


class FrameCameras:
    """Gives each frame its camera. Warns once per image size if the intrinsics are guessed, scaled or implausible."""

    def __init__(self, intrinsics: Intrinsics):
        self._intrinsics = intrinsics
        self._by_size: dict[tuple[int, int, int], FrameCamera] = {}

    def __call__(self, frame: Frame) -> FrameCamera:
        """Returns the camera of an image of this frame's size.

        Raises:
            CalibrationError: the calibration does not fit the image size, or is unusable.
        """
        height, width = frame.image.shape[:2]
        key = width, height, frame.rotation
        if key not in self._by_size:
            self._by_size[key] = self._camera(frame.name, *key)
        return self._by_size[key]

    def _camera(self, name: str, width: int, height: int, rotation: int) -> FrameCamera:
        from ..geometry.calibration import CalibrationError, IntrinsicsSource

        try:
            camera, origin = self._intrinsics.camera(width, height, rotation)
            warnings = self._intrinsics.warnings(width, height, rotation)
        except CalibrationError as error:
            raise CalibrationError(f"{name}: {error}") from error
        for text in warnings:
            warn(f"warning: {text}")
        if origin is IntrinsicsSource.CAMERA_INFO_SCALED:
            warn(f"note: {name} is {width}x{height}: the calibration is scaled to this size")
        return FrameCamera(camera, origin)
