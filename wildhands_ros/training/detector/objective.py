"""What the hand head learns from frames, and how the palm heads are held to what they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...network.detector_net import CELL, HandMaps
from ...network.palm_net import PalmOutput
from .config import DetectorLossWeights
from .frames import Frame

_SURE_PALM = 0.2
"""What MediaPipe gives for an anchor from which its box is held."""


@dataclass(frozen=True)
class DetectorBatch:
    """B training pictures; cells as in ``HandMaps``."""

    images: Tensor
    """(B, 3, H, W) in 0..1"""
    heat: Tensor
    """(B, H', W') in [0, 1]: 1 at a hand's middle, less around it, -1 where it does not count."""
    truth: Tensor
    """(B, 7, H', W') the rest of ``HandMaps``, right being 0 or 1."""
    weight: Tensor
    """(B, H', W') how much a cell's ``truth`` counts: 1 at the middle, less beside it, else 0."""


def collate(frames: Sequence[Frame]) -> DetectorBatch:
    """Of pictures of one size, whose sides are multiples of 32."""
    images = np.stack([frame.image for frame in frames]).transpose(0, 3, 1, 2)
    maps = [_maps(frame) for frame in frames]
    heat, truth, weight = (torch.from_numpy(np.stack(part)) for part in zip(*maps, strict=True))
    return DetectorBatch(torch.from_numpy(images).float() / 255, heat, truth, weight)


def _maps(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = (side // CELL for side in frame.image.shape[:2])
    heat, weight = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    truth = np.zeros((7, height, width), np.float32)
    rows, columns = np.mgrid[:height, :width]
    for i in np.flatnonzero(~frame.counts):
        x0, y0, x1, y1 = frame.boxes[i] / CELL
        heat[(rows + 0.5 > y0) & (rows + 0.5 < y1) & (columns + 0.5 > x0) & (columns + 0.5 < x1)] = -1
    # Smaller hands last: of two in one place they have fewer other cells.
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
        truth[0][near] = (centre[0] - columns - 0.5)[near]
        truth[1][near] = (centre[1] - rows - 0.5)[near]
        truth[2:4, near] = np.log(np.maximum(size, 0.3))[:, None]
        truth[4, near] = frame.right[i]
        truth[5:7, near] = frame.up[i][:, None]
    return heat, truth, weight


def detector_losses(
    palms: PalmOutput, maps: Tensor, taught: PalmOutput, batch: DetectorBatch, weights: DetectorLossWeights
) -> dict[str, Tensor]:
    """The weighted terms and their sum, ``loss``. ``taught``: what MediaPipe's detector says of the same pictures."""
    hands = HandMaps.of(maps)
    is_peak = (batch.heat == 1).float()
    count = is_peak.sum().clamp(min=1)
    terms = {"centre": _focal(hands.centre_logit, batch.heat) / count}
    total = batch.weight.sum().clamp(min=1)

    def mean(error: Tensor) -> Tensor:
        return (error * batch.weight).sum() / total

    terms["offset"] = mean(F.smooth_l1_loss(hands.offset, batch.truth[:, 0:2], beta=0.2, reduction="none").sum(dim=1))
    terms["log_size"] = mean(
        F.smooth_l1_loss(hands.log_size, batch.truth[:, 2:4], beta=0.1, reduction="none").sum(dim=1)
    )
    terms["right"] = mean(F.binary_cross_entropy_with_logits(hands.right_logit, batch.truth[:, 4], reduction="none"))
    known = (batch.truth[:, 5:7].norm(dim=1) > 0.5).float()
    terms["up"] = mean(known * F.smooth_l1_loss(hands.up, batch.truth[:, 5:7], beta=0.2, reduction="none").sum(dim=1))
    told = taught.logits.sigmoid()
    sure = (told > _SURE_PALM).float()
    logits = F.binary_cross_entropy_with_logits(palms.logits, told, reduction="none") * (1 + 20 * sure)
    boxes = (
        F.smooth_l1_loss(palms.boxes, taught.boxes, beta=2.0, reduction="none").mean(dim=2) * sure
    ).sum() / sure.sum().clamp(min=1)
    terms["palms"] = logits.mean() * 10 + 0.1 * boxes
    terms = {name: getattr(weights, name) * value for name, value in terms.items()}
    return {"loss": sum(terms.values()), **terms}


def _focal(logit: Tensor, heat: Tensor) -> Tensor:
    """Zhou et al. 2019, eq. 1, with alpha 2 and beta 4, summed; cells of negative ``heat`` are left out."""
    probability = logit.sigmoid().clamp(1e-4, 1 - 1e-4)
    at_peak = -((1 - probability) ** 2) * probability.log()
    elsewhere = -((1 - heat.clamp(min=0)) ** 4) * probability**2 * (1 - probability).log()
    return torch.where(heat == 1, at_peak, torch.where(heat < 0, torch.zeros_like(heat), elsewhere)).sum()
