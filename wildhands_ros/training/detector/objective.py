"""The detector's losses: the hand head learns from labelled frames, and the palm heads are distilled from MediaPipe's
detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...datasets.detector_frames import Frame
from ...network.detector_cells import CELL
from ...network.detector_net import HandMaps
from ...network.palm_net import PalmOutput
from .config import DetectorLossWeights

_MIN_PALM_SCORE = 0.2
"""MediaPipe's score of an anchor above which its box is distilled."""


@dataclass(frozen=True)
class DetectorBatch:
    """B training images with label maps over the cells of ``HandMaps``."""

    images: Tensor
    """(B, 3, H, W) in 0..1"""
    heat: Tensor
    """(B, H', W') in [0, 1]: 1 at a hand's centre, decreasing around it, -1 in cells to be ignored."""
    labels: Tensor
    """(B, 7, H', W') the other channels of ``HandMaps``, with right being 0, 1 or, if the side is unknown, -1."""
    weight: Tensor
    """(B, H', W') weights of the cells' ``labels``: 1 at the centre, less beside it, 0 elsewhere."""

    def without_images(self) -> DetectorBatch:
        """Return the labels alone."""
        return replace(self, images=self.images[:, :, :0].clone())


def collate(frames: Sequence[Frame]) -> DetectorBatch:
    """Join images of one size, with sides that are multiples of 32, into a batch."""
    images = np.stack([frame.image for frame in frames]).transpose(0, 3, 1, 2)
    maps = [_maps(frame) for frame in frames]
    heat, labels, weight = (torch.from_numpy(np.stack(part)) for part in zip(*maps, strict=True))
    return DetectorBatch(torch.from_numpy(images).float() / 255, heat, labels, weight)


def _maps(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = (side // CELL for side in frame.image.shape[:2])
    heat, weight = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    labels = np.zeros((7, height, width), np.float32)
    rows, columns = np.mgrid[:height, :width]
    for i in np.flatnonzero(~frame.counts):
        x0, y0, x1, y1 = frame.boxes[i] / CELL
        heat[(rows + 0.5 > y0) & (rows + 0.5 < y1) & (columns + 0.5 > x0) & (columns + 0.5 < x1)] = -1
    # Smaller hands last: if two hands overlap, the smaller one has fewer cells of its own.
    sizes = (frame.boxes[:, 2:] - frame.boxes[:, :2]).prod(axis=1)
    for i in sorted(np.flatnonzero(frame.counts), key=lambda i: -sizes[i]):
        box = frame.boxes[i] / CELL
        centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        sigma = np.maximum(0.11 * size, 0.5)
        row, column = min(int(centre[1]), height - 1), min(int(centre[0]), width - 1)
        peak = np.exp(-(((columns - column) / sigma[0]) ** 2 + ((rows - row) / sigma[1]) ** 2) / 2).astype(np.float32)
        heat = np.where(heat < 0, np.where(peak > 0.1, peak, heat), np.maximum(heat, peak))
        near = peak > np.maximum(weight, 0.3)
        weight[near] = peak[near]
        labels[0][near] = (centre[0] - columns - 0.5)[near]
        labels[1][near] = (centre[1] - rows - 0.5)[near]
        labels[2:4, near] = np.log(np.maximum(size, 0.3))[:, None]
        labels[4, near] = np.nan_to_num(frame.right[i], nan=-1.0)
        labels[5:7, near] = frame.up[i][:, None]
    return heat, labels, weight


def detector_losses(
    palms: PalmOutput | None,
    maps: Tensor,
    taught: PalmOutput | None,
    batch: DetectorBatch,
    weights: DetectorLossWeights,
) -> dict[str, Tensor]:
    """Compute the weighted terms and their sum, ``loss``.

    Args:
        palms: Output of the palm heads; None leaves out their term.
        maps: Output of the hand head.
        taught: MediaPipe's palm detector's output for the same images; None leaves out their term.
        batch: The labels.
        weights: Weights of the terms.
    """
    hands = HandMaps.of(maps)
    is_peak = (batch.heat == 1).float()
    count = is_peak.sum().clamp(min=1)
    terms = {"centre": _focal(hands.centre_logit, batch.heat) / count}
    total = batch.weight.sum().clamp(min=1)

    def mean(error: Tensor) -> Tensor:
        return (error * batch.weight).sum() / total

    terms["offset"] = mean(F.smooth_l1_loss(hands.offset, batch.labels[:, 0:2], beta=0.2, reduction="none").sum(dim=1))
    terms["log_size"] = mean(
        F.smooth_l1_loss(hands.log_size, batch.labels[:, 2:4], beta=0.1, reduction="none").sum(dim=1)
    )
    right = batch.labels[:, 4]
    terms["right"] = mean(
        (right >= 0) * F.binary_cross_entropy_with_logits(hands.right_logit, right.clamp(min=0), reduction="none")
    )
    known = (batch.labels[:, 5:7].norm(dim=1) > 0.5).float()
    terms["up"] = mean(known * F.smooth_l1_loss(hands.up, batch.labels[:, 5:7], beta=0.2, reduction="none").sum(dim=1))
    if palms is not None and taught is not None:
        terms["palms"] = _distillation(palms, taught)
    terms = {name: getattr(weights, name) * value for name, value in terms.items()}
    return {"loss": sum(terms.values(), batch.heat.new_zeros(())), **terms}


def _distillation(palms: PalmOutput, taught: PalmOutput) -> Tensor:
    """Return the distance of the palms' logits and boxes from the teacher's."""
    scores = taught.logits.sigmoid()
    sure = (scores > _MIN_PALM_SCORE).float()
    logits = F.binary_cross_entropy_with_logits(palms.logits, scores, reduction="none") * (1 + 20 * sure)
    boxes = (
        F.smooth_l1_loss(palms.boxes, taught.boxes, beta=2.0, reduction="none").mean(dim=2) * sure
    ).sum() / sure.sum().clamp(min=1)
    return logits.mean() * 10 + 0.1 * boxes


def _focal(logit: Tensor, heat: Tensor) -> Tensor:
    """Focal loss of Zhou et al. 2019, eq. 1, with alpha 2 and beta 4, summed; cells with negative ``heat`` are left
    out."""
    probability = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    at_peak = -((1 - probability) ** 2) * probability.log()
    elsewhere = -((1 - heat.clamp(min=0)) ** 4) * probability**2 * (1 - probability).log()
    return torch.where(heat == 1, at_peak, torch.where(heat < 0, torch.zeros_like(heat), elsewhere)).sum()
