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

FEATURES = ("unsure", "farther", "nearer", "distance", "unsteady")
"""What is known of an estimate:

- unsure: 1 - score, which is high for hidden, blurred and cut-off hands.
- farther, nearer: by how much the hand is farther away, or nearer, than the network alone says; the logarithm of the
  ratio, or 0.
- distance: logarithm of the distance in metres; the same relative error is a larger one far away.
- unsteady: standard deviation of that ratio's logarithm over two seconds of the track.
"""
_WEIGHTS, _BIAS = np.array([1.12, 2.62, -0.45, 6.5, 8.12]), 0.96
_FARTHEST = 0.8
"""Metres beyond which the distance does not count any more: the recordings of the fit show hands within arm's reach."""
_WINDOW = 1.0
"""Seconds before and after an estimate over which it may be unsteady."""
_WRONG = 0.1
"""Metres."""
_UNKNOWN_SCORE = 0.8
_USUAL_DIFFERENCE = 0.05
"""Difference to the network's distance for estimates without a network."""


def reliability_features(hands: Sequence[HandEstimate], stamps: np.ndarray) -> np.ndarray:
    """Returns the (N, 5) ``FEATURES`` of the estimates of a track.

    Args:
        hands: The estimates.
        stamps: (N,) their stamps in seconds, ascending.
    """
    scores = np.nan_to_num([hand.score for hand in hands], nan=_UNKNOWN_SCORE)
    distances = np.array([np.linalg.norm(hand.joints[0]) for hand in hands])
    differences = np.log(distances / np.array([hand.network_distance for hand in hands]))
    known = np.isfinite(differences)
    differences = np.where(known, differences, _USUAL_DIFFERENCE)
    starts, stops = np.searchsorted(stamps, stamps - _WINDOW), np.searchsorted(stamps, stamps + _WINDOW, "right")
    return np.column_stack(
        [
            1 - scores,
            np.where(known, np.maximum(differences, 0), _USUAL_DIFFERENCE),
            np.where(known, np.maximum(-differences, 0), _USUAL_DIFFERENCE),
            np.log(np.minimum(distances, _FARTHEST)),
            [differences[start:stop].std() for start, stop in zip(starts, stops, strict=True)],
        ]
    )


def is_measured(hand: HandEstimate) -> bool:
    """Whether a depth image or several cameras have measured the distance of a hand."""
    return hand.depth is DepthStatus.USED or len(hand.views) > 1


def probability_wrong(hands: Sequence[HandEstimate], stamps: np.ndarray) -> np.ndarray:
    """Returns the (N,) probabilities that estimates are wrong; arguments as of ``reliability_features``.

    Where a depth image or several cameras have measured the distance, it follows from the estimate's covariance.
    """
    found = sigmoid(reliability_features(hands, stamps) @ _WEIGHTS + _BIAS)
    for i, hand in enumerate(hands):
        if is_measured(hand) and hand.wrist_covariance is not None:
            stddev = math.sqrt(float(np.trace(hand.wrist_covariance[:3, :3])))
            found[i] = math.erfc(_WRONG / (math.sqrt(2) * stddev))
    return found
