"""What every hand detector offers to the estimator."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..structures import Detection

AUTO, OWN, MEDIAPIPE, TOPIC, TRACKS = DETECTORS = ("auto", "own", "mediapipe", "topic", "tracks")
"""Ways to hands. auto: the detector in the box, on the whole image and, as far as time allows, on tiles of it; own: on the whole image
alone; what either proposes is verified by the landmark network. mediapipe: MediaPipe Hands. topic: each image comes with its detections.
tracks: detections come now and then, and hands are followed in between."""


class HandDetector(Protocol):
    """Says where hands are in an image."""

    def detect(self, image_rgb: np.ndarray, stamp: float | None = None) -> list[Detection]:
        """Finds the hands of one image.

        Args:
            image_rgb: (H, W, 3) uint8.
            stamp: time of the image in seconds, rising within a stream; None for a picture on its own.

        Returns:
            Any number of hands of either side, best score first.
        """
        ...

    def reset(self) -> None:
        """Forgets earlier images, as at the start of a new stream."""
        ...

    def close(self) -> None:
        """Frees the detector's models; it cannot be used afterwards. May be called twice."""
        ...
