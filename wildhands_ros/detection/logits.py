"""Probabilities and their log-odds."""

from __future__ import annotations

import numpy as np


def sigmoid(logits: np.ndarray | float) -> np.ndarray:
    """Returns the probabilities of log-odds of any shape."""
    small = np.exp(-np.abs(logits))  # never overflows
    return np.where(np.asarray(logits) < 0, small, 1) / (1 + small)


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Returns the log-odds of probabilities in (0, 1) of any shape."""
    return np.log(probabilities / (1 - probabilities))
