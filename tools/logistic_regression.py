"""Logistic regression, as the tools need it that fit probabilities."""

from __future__ import annotations

import numpy as np

ITERATIONS = 50


def logistic_weights(features: np.ndarray, is_true: np.ndarray, penalty: float) -> np.ndarray:
    """Fits the weights by Newton's method.

    Args:
        features: (N, F).
        is_true: (N,) what they should predict.
        penalty: of half the squared weights, in the negative log-likelihood of all rows.

    Returns:
        (F,) weights.
    """
    weights = np.zeros(features.shape[1])
    for _ in range(ITERATIONS):
        p = 1 / (1 + np.exp(-features @ weights))
        hessian = (features * (p * (1 - p))[:, None]).T @ features + penalty * np.eye(len(weights))
        weights += np.linalg.solve(hessian, features.T @ (is_true - p) - penalty * weights)
    return weights
