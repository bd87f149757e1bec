"""Landmark inference with a WildHands network: one forward pass gives keypoints, presence, side and the 3D hand."""

from __future__ import annotations

import numpy as np

from ..geometry.camera import Camera
from ..runtime.predictor import Predictor
from ..types import Detection, NetworkPrediction
from .landmarks import detection_from_landmarks


class NetworkLandmarks:
    """Implements ``landmarks.LandmarkInference`` with a network that has a landmark head.

    Args:
        predictor: The network.
        keep_predictions: Whether the detections carry the network's 3D hands. False if another network predicts them.
    """

    def __init__(self, predictor: Predictor, keep_predictions: bool = True):
        self._predictor, self._keep_predictions = predictor, keep_predictions

    def __call__(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray
    ) -> list[Detection | None]:
        """Infers the hand in each crop; see ``LandmarkInference``."""
        return [
            None if prediction is None else self._detection(prediction, image_rgb)
            for prediction in self._predictor.predict(image_rgb, camera, boxes, turns=turns)
        ]

    def _detection(self, prediction: NetworkPrediction, image_rgb: np.ndarray) -> Detection:
        if prediction.landmarks is None:
            raise ValueError("the network has no landmark head: use the default weights for landmark inference")
        return detection_from_landmarks(prediction.landmarks, image_rgb, prediction if self._keep_predictions else None)
