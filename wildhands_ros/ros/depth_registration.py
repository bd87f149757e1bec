"""Turns depth messages into depth images in the frame of the colour camera, for the node and for recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..geometry.calibration import CalibrationError
from ..geometry.camera import Camera
from ..geometry.depth_image import DepthImage, DepthNoise
from ..geometry.pose import Pose
from .camera_info import calibration
from .camera_motion import TransformUnavailable
from .depth_images import decode_depth
from .rejections import InputRejected

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from std_msgs.msg import Header

LATE = "depth_late"
"""Name under which depth images of another moment are rejected."""
_ASPECT_TOLERANCE = 0.01
"""Largest relative difference of the aspect ratios of a depth image without CameraInfo and its colour image."""


@dataclass(frozen=True)
class ColourImage:
    """The colour image to which a depth image belongs."""

    header: Header
    camera: Camera
    rectified: bool
    """Whether both images are rectified."""


def registered(
    message: Image | CompressedImage,
    info: CameraInfo | None,
    colour: ColourImage,
    noise: DepthNoise,
    max_pixels: int,
    pose: Callable[[], Pose],
    missing_info: str,
) -> DepthImage:
    """Returns the depth image of a message, aligned or not, with its camera and pose.

    Args:
        message: The depth image.
        info: CameraInfo of the depth camera; None if there is none.
        colour: The colour image.
        noise: Noise model of the depth camera.
        max_pixels: Size of the largest compressed image that is decoded.
        pose: Returns the pose of the depth camera in the frame of the colour image; called only if the depth image is
            not aligned. Raises TransformUnavailable.
        missing_info: What to say if the CameraInfo is needed and missing.

    Raises:
        InputRejected: The image cannot be decoded, or its calibration or pose is unknown.
    """
    depth = decode_depth(message, max_pixels)
    height, width = depth.shape
    camera, frame_id = colour.camera, message.header.frame_id
    aligned = frame_id == colour.header.frame_id
    if info is None:
        # An aligned depth image has the camera of the colour image, at its own size.
        if aligned and abs(width / height * camera.height / camera.width - 1) < _ASPECT_TOLERANCE:
            return DepthImage(depth, camera.resized(width, height), Pose.identity(), noise)
        raise InputRejected("depth_no_camera_info", missing_info)
    if info.header.frame_id not in ("", frame_id):
        raise InputRejected(
            "depth_camera_info_frame",
            f"depth images are in frame {frame_id!r}, but their CameraInfo is in frame {info.header.frame_id!r}: both "
            "must come from the same camera; remap depth and depth_camera_info to the same one",
        )
    try:
        depth_camera, _ = calibration(info).camera(width, height, colour.rectified)
    except CalibrationError as error:
        raise InputRejected(f"depth_{error.name}", f"CameraInfo of the depth images: {error}") from error
    if aligned:
        return DepthImage(depth, depth_camera, Pose.identity(), noise)
    try:
        return DepthImage(depth, depth_camera, pose(), noise)
    except TransformUnavailable as error:
        raise InputRejected(
            "depth_no_transform",
            f"depth images are in frame {frame_id!r}, colour images in {colour.header.frame_id!r}, and {error}: let "
            "the driver publish TF, or publish aligned depth images",
        ) from error


def check_gap(gap: float, tolerance: float) -> None:
    """Checks how far the nearest depth image is from its colour image.

    Args:
        gap: Seconds by which the depth image is younger.
        tolerance: Largest difference in seconds.

    Raises:
        InputRejected: It is of another moment.
    """
    if abs(gap) > tolerance:
        raise InputRejected(
            LATE,
            f"the nearest depth image is {1000 * abs(gap):.0f} ms {'younger' if gap > 0 else 'older'} than the image, "
            f"more than depth_tolerance ({1000 * tolerance:.0f} ms): let the driver synchronise both streams, use the "
            "same rate for both, or check that both cameras use the same clock",
        )
