"""The paper's metrics (spec 3.5) for one hand or one pair of hands; millimetres are the caller's business.

Truth that is not known is NaN and left out.
"""

from __future__ import annotations

import numpy as np

_LEAST_ALIGNED = 3
"""Points without which a similarity transform is not determined."""


def mpjpe(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of (21, 3) joints after both were moved so that their wrists (joint 0) coincide; NaN without the true wrist."""
    distances = np.linalg.norm((predicted - predicted[0]) - (truth - truth[0]), axis=-1)
    known = np.isfinite(distances)
    return float(distances[known].mean()) if known.any() else float("nan")


def similarity_aligned(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """``predicted`` (N, 3) under the similarity transform that brings it closest to ``truth`` (Umeyama 1991, no reflection)."""
    centre_p, centre_t = predicted.mean(axis=0), truth.mean(axis=0)
    p, t = predicted - centre_p, truth - centre_t
    u, singular, vt = np.linalg.svd(t.T @ p)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (singular * signs).sum() / (p**2).sum()
    return scale * p @ (u * signs @ vt).T + centre_t


def pa_mpjpe(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of (21, 3) joints after similarity Procrustes alignment; NaN where fewer than three are known."""
    known = np.isfinite(truth).all(axis=-1)
    if known.sum() < _LEAST_ALIGNED:
        return float("nan")
    return float(np.linalg.norm(similarity_aligned(predicted[known], truth[known]) - truth[known], axis=-1).mean())


def mrrpe(
    predicted_left: np.ndarray, predicted_right: np.ndarray, true_left: np.ndarray, true_right: np.ndarray
) -> float:
    """How far off the left wrist is, (21, 3) joints each, seen from the right one: the mean relative-root position error's summand."""
    return float(np.linalg.norm((predicted_left[0] - predicted_right[0]) - (true_left[0] - true_right[0])))
