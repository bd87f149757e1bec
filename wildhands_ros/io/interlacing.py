"""Recognises interlaced video by the combs that moving edges have in it."""

from __future__ import annotations

import numpy as np

_MOTION = 16
"""Difference between two frames, of 255, from which a pixel has moved."""
_CONTRAST = 12**2
"""Product of the differences to both neighbours from which a pixel stands out."""
_LEAST_MOTION = 500
"""Moved pixels that a judgement needs."""
_COMBED = 0.15
"""Share of the moved pixels that stand out between their rows in interlaced video."""
_RATIO = 3.0
"""How many more pixels stand out between their rows than between their columns. Fine texture stands out in both."""
_ENOUGH = 5
"""Frames with motion that are judged; most of them decide."""
_TALLEST = 1200
"""Rows of the tallest image that is judged: no standard interlaces more than 1080, and tall images take memory."""


class InterlacingDetector:
    """Judges the first frames of a video in which something moves."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self._votes: list[bool] = []

    def add(self, image: np.ndarray) -> bool:
        """Judges the next frame.

        Args:
            image: (H, W, 3) uint8.

        Returns:
            Whether the video is interlaced; True only once, for the frame that decides.
        """
        if len(self._votes) == _ENOUGH or len(image) > _TALLEST:
            return False
        green = image[..., 1].astype(np.int16)
        previous, self._previous = self._previous, green
        if previous is None or previous.shape != green.shape or min(green.shape) < 3:
            return False
        inner = green[1:-1, 1:-1]
        moved = np.abs(inner - previous[1:-1, 1:-1]) > _MOTION
        if (count := np.count_nonzero(moved)) < _LEAST_MOTION:
            return False
        pixels = inner[moved].astype(np.int32)
        between_rows, between_columns = (
            np.count_nonzero((pixels - before[moved]) * (pixels - after[moved]) > _CONTRAST)
            for before, after in ((green[:-2, 1:-1], green[2:, 1:-1]), (green[1:-1, :-2], green[1:-1, 2:]))
        )
        self._votes.append(bool(between_rows > _COMBED * count and between_rows > _RATIO * between_columns))
        return len(self._votes) == _ENOUGH and 2 * sum(self._votes) > _ENOUGH
