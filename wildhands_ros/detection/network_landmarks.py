"""The landmark head of a WildHands network as the one that looks at boxes: one pass gives keypoints, presence, side and the 3D hand."""

from __future__ import annotations

import numpy as np

from ..geometry.camera import Camera
from ..runtime.predictor import Predictor
from ..types import Detection, NetworkPrediction
from .landmarks import detection_of


class NetworkLandmarks:
    """Looks at places in an image, see ``landmarks.Look``, with a network that has landmarks.

    ``keep_predictions``: whether its 3D hands come along, for an estimator whose network it is.
    """

    def __init__(self, predictor: Predictor, keep_predictions: bool = True):
        self._predictor, self._keep_predictions = predictor, keep_predictions

    def __call__(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray
    ) -> list[Detection | None]:
        found = self._predictor.predict(image_rgb, camera, boxes, turns=turns)
        return [prediction and self._detection(prediction, image_rgb) for prediction in found]

    def _detection(self, prediction: NetworkPrediction, image_rgb: np.ndarray) -> Detection:
        return detection_of(prediction.landmarks, image_rgb, prediction if self._keep_predictions else None)
