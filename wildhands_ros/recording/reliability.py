"""The probability that an estimate is wrong: that its wrist is off by more than 10 cm.

A camera alone tells directions exactly and distances to about a tenth, so nearly all wrong estimates are too far away
or too near. A logistic regression combines what tells them apart. ``tools/fit_reliability.py`` fits its weights to the
synthetic recordings of the split train.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..detection.logits import sigmoid
from ..types import DepthStatus, HandEstimate

FEATURES = ("unsure", "farther", "nearer", "distance")
"""What is known of an estimate:

- unsure: 1 - score, which is high for hidden, blurred and cut-off hands.
- farther, nearer: by how much the hand is farther away, or nearer, than the network alone says; the logarithm of the
  ratio, or 0.
- distance: logarithm of the distance in metres; the same relative error is a larger one far away.
"""
_WEIGHTS, _BIAS = np.array([6.6, 6.2, 3.8, 6.5]), 0.34
_FARTHEST = 0.8
"""Metres beyond which the distance does not count any more: the recordings of the fit show hands within arm's reach."""
_WRONG = 0.1
"""Metres."""
_UNKNOWN_SCORE = 0.8
_USUAL_DIFFERENCE = 0.05
"""Difference to the network's distance for estimates without a network."""


def reliability_features(hand: HandEstimate) -> np.ndarray:
    """Returns the (4,) ``FEATURES`` of an estimate."""
    distance = float(np.linalg.norm(hand.joints[0]))
    difference = np.log(distance / hand.network_distance)
    farther, nearer = max(difference, 0.0), max(-difference, 0.0)
    if not np.isfinite(difference):
        farther = nearer = _USUAL_DIFFERENCE
    score = _UNKNOWN_SCORE if np.isnan(hand.score) else hand.score
    return np.array([1 - score, farther, nearer, np.log(min(distance, _FARTHEST))])


def probability_wrong(hands: Sequence[HandEstimate]) -> np.ndarray:
    """Returns the (N,) probabilities that estimates are wrong.

    Where a depth image or several cameras have measured the distance, it follows from the estimate's covariance.
    """
    features = np.array([reliability_features(hand) for hand in hands]).reshape(-1, len(FEATURES))
    found = sigmoid(features @ _WEIGHTS + _BIAS)
    for i, hand in enumerate(hands):
        if hand.wrist_covariance is not None and (hand.depth is DepthStatus.USED or len(hand.views) > 1):
            stddev = math.sqrt(float(np.trace(hand.wrist_covariance[:3, :3])))
            found[i] = math.erfc(_WRONG / (math.sqrt(2) * stddev))
    return found
