"""What every hand detector offers to the estimator."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ..structures import Detection


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
