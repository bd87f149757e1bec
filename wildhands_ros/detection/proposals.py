"""Runs the detector's network on windows of an image. Its proposals are verified elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..geometry.boxes import box_iou
from ..network.config import LANDMARK_CROP_SCALE
from ..network.detector_cells import CELL, PALM_KEYPOINTS, anchor_cells
from ..network.network_file import DEFAULT_DETECTOR
from ..runtime.detector import run_detector
from .logits import sigmoid
from .windows import View, Window, view

PALM_WRIST, PALM_MIDDLE = 0, 2
PALM_TO_HAND = 2.6 / LANDMARK_CROP_SCALE
"""Side of a hand's square relative to that of its palm, as in MediaPipe."""
PALM_SHIFT = 0.5
"""Offset of the hand's centre from the palm's towards the fingers, relative to the palm's side, as in MediaPipe."""
_SAME_PALM = 0.4
"""IoU above which two squares are of one palm."""
_MOST = 24
"""Maximum number of proposals of each head for one window."""


@dataclass(frozen=True)
class Proposal:
    """A place in an image that may show a hand."""

    box: np.ndarray
    """(4,) approximate box of the hand in pixels, or the square of its rotated crop (see ``rotated_square``)."""
    turn: float
    """Rotation of the hand in radians, as ``landmarks.hand_turn``."""
    score: float
    """Score in [0, 1] of the detector's network."""
    is_right: float
    """Confidence in [0, 1] that it is a right hand; NaN if unknown."""

    @property
    def is_palm(self) -> bool:
        """Whether the proposal comes from the palm head, which does not know the side."""
        return bool(np.isnan(self.is_right))


class ProposalNet:
    """Runs a detector network on windows of images. It may be called from several threads at once.

    Args:
        path: The detector's ONNX file.
        least_score: Score below which there are no proposals.
        side_by_side: Whether the windows of an image are examined side by side, see ``run_detector``.
    """

    def __init__(self, path: Path = DEFAULT_DETECTOR, least_score: float = 0.1, side_by_side: bool = False):
        self._run = run_detector(path, side_by_side)
        self._least = least_score
        self._anchors: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, image_rgb: np.ndarray, window: Window) -> list[Proposal]:
        """Returns the proposals of both heads for a window of an (H, W, 3) uint8 image, best first."""
        seen = view(image_rgb, window)
        logits, boxes, maps = self._run(seen.image)
        found = self._palms(seen, logits, boxes) + decode_hands(seen, maps, self._least)
        return sorted(found, key=lambda proposal: -proposal.score)

    def hands(self, image_rgb: np.ndarray, window: Window) -> list[Proposal]:
        """Returns the proposals of the hand head alone, best first, as for the second stage, which knows no palms."""
        seen = view(image_rgb, window)
        return decode_hands(seen, self._run(seen.image)[2], self._least)

    def _palms(self, seen: View, logits: np.ndarray, boxes: np.ndarray) -> list[Proposal]:
        height, width = seen.image.shape[:2]
        if (height, width) not in self._anchors:
            self._anchors[height, width] = anchor_cells(height, width)
        likely = np.flatnonzero(logits > np.log(self._least / (1 - self._least)))
        likely = likely[np.argsort(-logits[likely])]
        values = boxes[likely].astype(np.float64)
        points = np.concatenate([values[:, :2], values[:, 4:]], axis=1).reshape(-1, 1 + PALM_KEYPOINTS, 2)
        points = seen.to_image(points + self._anchors[height, width][likely, None])
        centres, keypoints = points[:, 0], points[:, 1:]
        sides = values[:, 2:4].max(axis=1) / seen.scale
        x, y = (keypoints[:, PALM_MIDDLE] - keypoints[:, PALM_WRIST]).T
        turns = np.arctan2(x, -y)
        centres = centres + PALM_SHIFT * sides[:, None] * np.stack([np.sin(turns), -np.cos(turns)], axis=1)
        halves = PALM_TO_HAND * sides[:, None] / 2
        squares = np.concatenate([centres - halves, centres + halves], axis=1)
        found: list[Proposal] = []
        for i in np.flatnonzero(sides > 1):
            if not any(box_iou(squares[i], other.box) > _SAME_PALM for other in found):
                found.append(Proposal(squares[i], float(turns[i]), float(sigmoid(logits[likely[i]])), float("nan")))
            if len(found) == _MOST:
                break
        return found


def decode_hands(seen: View, maps: np.ndarray, least_score: float) -> list[Proposal]:
    """Converts the maps of the hand head to proposals.

    Args:
        seen: View on which the network ran.
        maps: (8, h / 8, w / 8) score logit, centre, size, side logit and direction of the hand in each cell.
        least_score: Score below which there are no proposals.

    Returns:
        The local maxima of the score, best first.
    """
    heat = maps[0]
    around = np.pad(heat, 1, constant_values=-np.inf)
    height, width = heat.shape
    highest = np.max([around[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    rows, columns = np.nonzero((heat == highest) & (heat > np.log(least_score / (1 - least_score))))
    order = np.argsort(-heat[rows, columns])[:_MOST]
    found = []
    for row, column in zip(rows[order], columns[order], strict=True):
        logit, x, y, log_w, log_h, right, up_x, up_y = maps[:, row, column].astype(np.float64)
        centre = seen.to_image((np.array([column + 0.5 + x, row + 0.5 + y])) * CELL)
        half = np.exp(np.clip([log_w, log_h], -3, 5)) * CELL / seen.scale / 2
        box, turn = np.concatenate([centre - half, centre + half]), float(np.arctan2(up_x, -up_y))
        found.append(Proposal(box, turn, float(sigmoid(logit)), float(sigmoid(right))))
    return found
