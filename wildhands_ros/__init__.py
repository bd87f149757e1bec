"""WildHands for ROS 2: 3D hands in the frame of a calibrated camera.

Everything a Python program needs is importable from here:

    from wildhands_ros import Camera, Estimator, load_image

    image = load_image("photo.jpg")
    frame = Estimator()(image, Camera.for_image(image, fov_degrees=70))
    print([(hand.side.value, hand.wrist_position) for hand in frame.hands])

Names are imported on first use: ``import wildhands_ros`` itself loads neither PyTorch nor ROS.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING

# The generated messages (wildhands_ros.msg) are installed beside a source checkout, not inside it: merge both folders.
__path__ = pkgutil.extend_path(__path__, __name__)

# OpenVINO reports each import to Google Analytics, from a process that it forks beside all running threads. A robot's
# node must do neither; without this module OpenVINO and nncf report nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import fail

__version__ = "0.1.0"

if TYPE_CHECKING:  # For type checkers and editors; keep equal to _MODULES.
    from .config import EstimatorConfig, SearchTime, SearchWindows, SmoothingConfig
    from .estimator import Estimator
    from .geometry.calibration import Calibration, CalibrationError
    from .geometry.camera import Camera
    from .geometry.depth_image import DepthImage, DepthNoise
    from .geometry.pose import Pose
    from .hand_model.joints import MEDIAPIPE_BONES, MEDIAPIPE_JOINT_NAMES
    from .io.camera_files import load_calibration
    from .io.errors import InputError
    from .io.images import load_image
    from .io.sources import open_source
    from .smoothing.hands import HandSmoother
    from .types import DepthStatus, Detection, FrameEstimate, Grasp, HandEstimate, HandLength, ManoParameters, Side
    from .visualization.overlay import draw_frame

_MODULES = {
    "Calibration": "geometry.calibration",
    "CalibrationError": "geometry.calibration",
    "Camera": "geometry.camera",
    "DepthImage": "geometry.depth_image",
    "DepthNoise": "geometry.depth_image",
    "DepthStatus": "types",
    "Detection": "types",
    "Estimator": "estimator",
    "EstimatorConfig": "config",
    "FrameEstimate": "types",
    "Grasp": "types",
    "HandEstimate": "types",
    "HandLength": "types",
    "HandSmoother": "smoothing.hands",
    "InputError": "io.errors",
    "MEDIAPIPE_BONES": "hand_model.joints",
    "MEDIAPIPE_JOINT_NAMES": "hand_model.joints",
    "ManoParameters": "types",
    "Pose": "geometry.pose",
    "SearchTime": "config",
    "SearchWindows": "config",
    "Side": "types",
    "SmoothingConfig": "config",
    "draw_frame": "visualization.overlay",
    "load_calibration": "io.camera_files",
    "load_image": "io.images",
    "open_source": "io.sources",
}
"""Module of each public name."""

__all__ = [
    "MEDIAPIPE_BONES",
    "MEDIAPIPE_JOINT_NAMES",
    "Calibration",
    "CalibrationError",
    "Camera",
    "DepthImage",
    "DepthNoise",
    "DepthStatus",
    "Detection",
    "Estimator",
    "EstimatorConfig",
    "FrameEstimate",
    "Grasp",
    "HandEstimate",
    "HandLength",
    "HandSmoother",
    "InputError",
    "ManoParameters",
    "Pose",
    "SearchTime",
    "SearchWindows",
    "Side",
    "SmoothingConfig",
    "draw_frame",
    "load_calibration",
    "load_image",
    "open_source",
]


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
