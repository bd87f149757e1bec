"""Cells of the hand detector's outputs, to which its boxes are relative."""

from __future__ import annotations

import numpy as np

STRIDES = (8, 16)
"""Strides of the fine and the coarse cells in pixels."""
CELL = STRIDES[0]
"""Stride of the hand head's cells in pixels."""
ANCHORS = (2, 6)
"""Anchors per fine and per coarse cell."""
PALM_KEYPOINTS = 7
"""Wrist; bases of the index, middle, ring and little finger; two joints of the thumb."""


def anchor_cells(height: int, width: int) -> np.ndarray:
    """Returns the (N, 2) centres x, y of the anchors' cells for an image size, in pixels from the image's edge."""
    cells = []
    for stride, count in zip(STRIDES, ANCHORS, strict=True):
        x, y = np.meshgrid(np.arange(width // stride), np.arange(height // stride))
        middles = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride
        cells.append(middles.repeat(count, axis=0))
    return np.concatenate(cells)
