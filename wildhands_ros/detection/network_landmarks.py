"""The WildHands network's own landmark head as the one that looks at boxes: one pass gives keypoints, presence, side and the 3D hand."""

from __future__ import annotations

import numpy as np

from ..geometry.camera import Camera
from ..runtime.predictor import Predictor
from ..structures import Detection
from .landmarks import detection_of


class NetworkLandmarks:
    """Looks at places in an image, see ``landmarks.Look``, with a network that has landmarks."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    def __call__(self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray) -> list[Detection | None]:
        predictions = self._predictor.predict(image_rgb, camera, boxes, turns=turns)
        return [None if found is None else detection_of(found.landmarks, image_rgb, found) for found in predictions]
