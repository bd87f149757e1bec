"""Places in an image where the detector's network supposes hands; whether they are hands is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit

from ..geometry.boxes import box_iou
from ..network.detector_net import CELL, HandDetectorNet
from ..network.landmark_net import LANDMARK_CROP_SCALE
from ..network.palm_net import PALM_KEYPOINTS, anchor_cells
from .windows import View, Window, view

PALM_WRIST, PALM_MIDDLE = 0, 2
PALM_TO_HAND = 2.6 / LANDMARK_CROP_SCALE
"""Side of the hand's square over the palm's, and how far it lies towards the fingers over the palm's side: MediaPipe's."""
PALM_SHIFT = 0.5
_SAME_PLACE = 0.4
_MOST = 24
"""Of one window, of each head."""


@dataclass(frozen=True)
class Proposal:
    """A place where a hand may be."""

    box: np.ndarray
    """(4,) about the hand's, or a square that stands for it along its own direction; pixels of the image."""
    turn: float
    """Radians, as ``landmarks.hand_turn``."""
    score: float
    """What the network gives for it, in [0, 1]."""
    is_right: float
    """Confidence in [0, 1] that it is a right hand; NaN where unknown."""

    @property
    def is_palm(self) -> bool:
        """Whether a palm was found, and no more."""
        return np.isnan(self.is_right)


class ProposalNet:
    """Runs the network on windows of images. Not for use from two threads at once."""

    def __init__(self, net: HandDetectorNet, least_score: float = 0.1):
        """``least_score``: proposals below are not made."""
        self._run = _runtime(net)
        self._least = least_score
        self._anchors: dict[tuple[int, int], np.ndarray] = {}

    def __call__(self, image_rgb: np.ndarray, window: Window) -> list[Proposal]:
        """Best first. ``image_rgb``: (H, W, 3) uint8."""
        seen = view(image_rgb, window)
        logits, boxes, maps = self._run(seen.picture)
        found = self._palms(seen, logits, boxes) + self._hands(seen, maps)
        return sorted(found, key=lambda proposal: -proposal.score)

    def hands(self, image_rgb: np.ndarray, window: Window) -> list[Proposal]:
        """Whole hands alone, best first: a network for close-ups knows nothing of palms."""
        seen = view(image_rgb, window)
        return self._hands(seen, self._run(seen.picture)[2])

    def _palms(self, seen: View, logits: np.ndarray, boxes: np.ndarray) -> list[Proposal]:
        size = seen.picture.shape[:2]
        if size not in self._anchors:
            self._anchors[size] = anchor_cells(*size).numpy()
        likely = np.flatnonzero(logits > np.log(self._least / (1 - self._least)))
        likely = likely[np.argsort(-logits[likely])]
        values = boxes[likely].astype(np.float64)
        points = np.concatenate([values[:, :2], values[:, 4:]], axis=1).reshape(-1, 1 + PALM_KEYPOINTS, 2)
        points = seen.to_image(points + self._anchors[size][likely, None])
        centres, keypoints = points[:, 0], points[:, 1:]
        sides = values[:, 2:4].max(axis=1) / seen.scale
        x, y = (keypoints[:, PALM_MIDDLE] - keypoints[:, PALM_WRIST]).T
        turns = np.arctan2(x, -y)
        centres = centres + PALM_SHIFT * sides[:, None] * np.stack([np.sin(turns), -np.cos(turns)], axis=1)
        halves = PALM_TO_HAND * sides[:, None] / 2
        squares = np.concatenate([centres - halves, centres + halves], axis=1)
        found = []
        for i in np.flatnonzero(sides > 1):
            if not any(box_iou(squares[i], other.box) > _SAME_PLACE for other in found):
                found.append(Proposal(squares[i], float(turns[i]), float(expit(logits[likely[i]])), float("nan")))
            if len(found) == _MOST:
                break
        return found

    def _hands(self, seen: View, maps: np.ndarray) -> list[Proposal]:
        heat = maps[0]
        around = np.pad(heat, 1, constant_values=-np.inf)
        height, width = heat.shape
        highest = np.max([around[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
        rows, columns = np.nonzero((heat == highest) & (heat > np.log(self._least / (1 - self._least))))
        order = np.argsort(-heat[rows, columns])[:_MOST]
        found = []
        for row, column in zip(rows[order], columns[order], strict=True):
            logit, x, y, log_w, log_h, right, up_x, up_y = maps[:, row, column].astype(np.float64)
            centre = seen.to_image((np.array([column + 0.5 + x, row + 0.5 + y])) * CELL)
            half = np.exp(np.clip([log_w, log_h], -3, 5)) * CELL / seen.scale / 2
            box, turn = np.concatenate([centre - half, centre + half]), float(np.arctan2(up_x, -up_y))
            found.append(Proposal(box, turn, float(expit(logit)), float(expit(right))))
        return found


def _runtime(net: HandDetectorNet):
    """(h, w, 3) uint8 to palms' logits (N,) and boxes (N, 18) and maps (8, h / 8, w / 8): on OpenVINO, or else on torch."""
    try:
        from ..runtime.openvino_detector import OpenVinoDetector
    except ImportError:
        return _TorchDetector(net)
    return OpenVinoDetector(net)


class _TorchDetector:
    def __init__(self, net: HandDetectorNet):
        self._net = net.eval()

    @torch.inference_mode()
    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        return tuple(output[0].numpy() for output in self._net(image))
