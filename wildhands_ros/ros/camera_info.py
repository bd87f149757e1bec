"""Conversion between sensor_msgs/CameraInfo and the camera model."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from ..geometry.calibration import Calibration
from ..geometry.camera import Camera


def calibration(message: CameraInfo) -> Calibration:
    """Returns the message's calibration without checking it; ``Calibration.camera`` rejects unusable ones."""
    roi = message.roi
    return Calibration(
        width=message.width,
        height=message.height,
        k=tuple(message.k),
        d=tuple(message.d),
        distortion_model=message.distortion_model,
        p=tuple(message.p),
        binning_x=message.binning_x,
        binning_y=message.binning_y,
        roi=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def camera_info(camera: Camera, header: Header) -> CameraInfo:
    """Returns the CameraInfo of a raw image; its rectification matrix R is the identity."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    message.distortion_model = camera.distortion_model or "plumb_bob"
    message.d = camera.d.tolist() or [0.0] * 5
    message.k = camera.k.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([camera.k, np.zeros((3, 1))]).ravel()
    return message
