"""Depth images with their camera, pose and noise model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from .camera import Camera
from .pose import Pose

FARTHEST = 20.0
"""Depth in metres beyond which a pixel is unknown; 16-bit millimetres end at 65.535, which sensors use as a marker."""


@dataclass(frozen=True)
class DepthNoise:
    """Error of a depth sensor as a function of the depth z in metres.

    The standard deviation of a pixel is ``constant + linear * z + quadratic * z**2``: a stereo camera's grows with the
    square of the distance, a time-of-flight camera's linearly. ``bias`` is an error that all pixels of a hand share, as
    a fraction of z, because calibrations are not perfect and cameras warm up.

    Example:
        >>> from wildhands_ros import DepthNoise
        >>> stereo = DepthNoise.stereo(focal=640, baseline=0.05)
        >>> bool(stereo.stddev(1.0) > 2 * stereo.stddev(0.5))
        True
    """

    constant: float = 0.0
    """Metres."""
    linear: float = 0.0
    """Metres per metre."""
    quadratic: float = 0.0
    """Metres per square metre."""
    bias: float = 0.004
    """Standard deviation of the common error as a fraction of the depth."""

    def __post_init__(self) -> None:
        values = (self.constant, self.linear, self.quadratic, self.bias)
        if not all(np.isfinite(values)) or min(values) < 0:
            raise ValueError(f"the coefficients of a depth sensor's noise must not be negative, but they are {values}")
        if not any(values[:3]):
            raise ValueError("a depth sensor without noise does not exist: set constant, linear or quadratic")

    @classmethod
    def stereo(cls, focal: float = 640.0, baseline: float = 0.05, disparity: float = 0.12) -> DepthNoise:
        """Returns the noise of a stereo camera, active or passive.

        Args:
            focal: Focal length of the depth image in pixels.
            baseline: Distance between the two lenses in metres.
            disparity: Standard deviation of the disparity in pixels.
        """
        return cls(constant=0.0005, quadratic=disparity / (focal * baseline))

    @classmethod
    def time_of_flight(cls, constant: float = 0.001, linear: float = 0.002) -> DepthNoise:
        """Returns the noise of a time-of-flight camera, as the two coefficients."""
        return cls(constant=constant, linear=linear)

    @classmethod
    def of_sensor(cls, sensor: str, scale: float = 1.0) -> DepthNoise:
        """Returns the noise of a kind of sensor, one of ``config.DEPTH_SENSORS``, times a factor."""
        return (cls.stereo() if sensor == "stereo" else cls.time_of_flight()).scaled(scale)

    def scaled(self, factor: float) -> DepthNoise:
        """Returns the noise of a sensor whose standard deviations are larger by a factor; the bias stays."""
        return replace(
            self, constant=self.constant * factor, linear=self.linear * factor, quadratic=self.quadratic * factor
        )

    def stddev(self, depth: np.ndarray | float) -> np.ndarray:
        """Returns the standard deviation of pixels of this depth in metres."""
        depth = np.asarray(depth)
        return self.constant + self.linear * depth + self.quadratic * depth**2


@dataclass(frozen=True, eq=False)
class DepthImage:
    """A depth image, aligned with the colour image or not.

    Example:
        >>> import numpy as np
        >>> from wildhands_ros import Camera, DepthImage, DepthNoise
        >>> millimetres = np.full((480, 640), 600, np.uint16)
        >>> depth = DepthImage.from_millimetres(millimetres, Camera.from_fov(640, 480, 1.2))
        >>> round(float(depth.depth[0, 0]), 3)
        0.6
    """

    depth: np.ndarray
    """(H, W) float32 metres along the optical axis; 0, NaN or infinite where unknown."""
    camera: Camera
    """Camera of exactly this image, including its lens."""
    pose: Pose = field(default_factory=Pose.identity)
    """Pose of the depth camera in the frame of the colour camera; the identity if the depth image is aligned."""
    noise: DepthNoise = field(default_factory=DepthNoise.stereo)

    def __post_init__(self) -> None:
        if self.depth.ndim != 2 or self.depth.dtype != np.float32:
            hint = "; use DepthImage.from_millimetres" if self.depth.dtype == np.uint16 else ""
            raise ValueError(
                f"expected a depth image (H, W) of float32 metres, got {self.depth.dtype} of shape "
                f"{self.depth.shape}{hint}"
            )
        if self.depth.shape != (self.camera.height, self.camera.width):
            raise ValueError(
                f"the depth image is {self.depth.shape[1]}x{self.depth.shape[0]}, but its camera "
                f"{self.camera.width}x{self.camera.height}"
            )
        if not (np.isfinite(self.pose.rotation).all() and np.isfinite(self.pose.position).all()):
            raise ValueError("the pose of the depth camera contains values that are not finite")

    @classmethod
    def from_millimetres(
        cls, depth: np.ndarray, camera: Camera, pose: Pose | None = None, noise: DepthNoise | None = None
    ) -> DepthImage:
        """Builds a depth image from (H, W) uint16 millimetres, in which 0 and 65535 are unknown."""
        metres = depth.astype(np.float32)
        metres *= np.float32(0.001)
        return cls(metres, camera, pose or Pose.identity(), noise or DepthNoise.stereo())
