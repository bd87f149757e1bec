"""MediaPipe's landmark network from its wheel, as a baseline.

OpenVINO reads the .tflite file directly. (OpenCV's reader computes wrong world landmarks.)
"""

from __future__ import annotations

import cv2
import numpy as np

from ..detection.landmarks import detection_from_landmarks
from ..geometry.boxes import rotation_matrix_2d
from ..geometry.camera import Camera
from ..network.config import LANDMARK_CROP_SCALE
from ..network.landmark_net import LANDMARK_CROP_SIZE
from ..network.mediapipe_weights import OUTPUTS, landmark_model_path
from ..types import Detection, Landmarks

# bfloat16, OpenVINO's default on CPUs that support it, would round landmarks to whole pixels. One thread is enough for
# one crop.
_OPENVINO_CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


class MediaPipeLandmarks:
    """Infers the landmarks of crops; implements ``landmarks.LandmarkInference``. Not thread-safe.

    Raises:
        ImportError: openvino, or mediapipe, whose wheel contains the network, is not installed.
    """

    def __init__(self):
        model = landmark_model_path()
        try:
            from ..network.openvino_core import openvino_core
        except ImportError as error:
            raise ImportError("MediaPipe's network needs openvino here: pip install openvino") from error
        self._network = openvino_core().compile_model(model, "CPU", _OPENVINO_CONFIG)

    def __call__(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray
    ) -> list[Detection | None]:
        return [self._infer(image_rgb, box, turn) for box, turn in zip(boxes, turns, strict=True)]

    def _infer(self, image_rgb: np.ndarray, box: np.ndarray, turn: float) -> Detection:
        size, centre = LANDMARK_CROP_SIZE, (box[:2] + box[2:]) / 2
        scale = size / (LANDMARK_CROP_SCALE * max(float((box[2:] - box[:2]).max()), 1.0))
        linear = scale * rotation_matrix_2d(turn).T
        affine = np.hstack([linear, ((size - 1) / 2 - linear @ centre)[:, None]])
        # warpAffine alone would alias when it shrinks.
        source = image_rgb if scale > 0.5 else cv2.blur(image_rgb, (round(1 / scale),) * 2)
        crop = cv2.warpAffine(source, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        outputs = self._network(crop[None].astype(np.float32) / 255)
        landmarks, presence, is_right, world = (
            outputs[OUTPUTS[name]].ravel() for name in ("landmarks", "presence", "is_right", "world")
        )
        # The network counts from the edge of the crop, we from the centre of the first pixel.
        in_crop = landmarks.reshape(21, 3)[:, :2].astype(np.float64) - 0.5
        world = world.reshape(21, 3).astype(np.float64)
        world[:, :2] = world[:, :2] @ rotation_matrix_2d(turn).T
        keypoints = (in_crop - affine[:, 2]) @ np.linalg.inv(linear).T
        return detection_from_landmarks(Landmarks(keypoints, world, float(presence[0]), float(is_right[0])), image_rgb)
