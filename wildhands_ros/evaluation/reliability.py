"""Reliability of scores: how often what has a score is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 10
"""Number of bins of the reliability table."""


@dataclass(frozen=True)
class Bin:
    """Everything whose score lies in one interval."""

    low: float
    high: float
    count: int
    mean_score: float | None
    """None if there is nothing in the bin."""
    share_right: float | None


def reliability(scores: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray) -> list[Bin]:
    """Return ``BINS`` bins of equal width.

    Args:
        scores: Scores in [0, 1].
        right: For each score, whether what it belongs to is right.
    """
    values, hits = np.array(scores, float), np.array(right, float)
    numbers = np.clip((values * BINS).astype(int), 0, BINS - 1)
    bins = []
    for i in range(BINS):
        inside = numbers == i
        means = (float(values[inside].mean()), float(hits[inside].mean())) if inside.any() else (None, None)
        bins.append(Bin(i / BINS, (i + 1) / BINS, int(inside.sum()), *means))
    return bins


def calibration_error(bins: Sequence[Bin], least: float = 0.0) -> float | None:
    """Return the expected calibration error: the mean distance of score and share of what is right over the bins from
    ``least`` on, weighted by their counts. None if they are empty."""
    total, distance = 0, 0.0
    for entry in bins:
        if entry.low >= least - 1e-9 and entry.mean_score is not None and entry.share_right is not None:
            total += entry.count
            distance += entry.count * abs(entry.mean_score - entry.share_right)
    return distance / total if total else None
