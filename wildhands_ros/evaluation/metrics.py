"""Metrics of the paper (WildHands, Sec. 4) for one hand or a pair of hands.

Results are in the unit of the arguments. Unknown ground truth is NaN and ignored.
"""

from __future__ import annotations

import numpy as np

_MIN_ALIGNED = 3
"""Minimum number of points that determine a similarity transform."""


def mpjpe(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean per-joint position error of (21, 3) joints, root-relative: wrists (joint 0) are aligned first.

    NaN if the wrist's ground truth is unknown.
    """
    distances = np.linalg.norm((predicted - predicted[0]) - (truth - truth[0]), axis=-1)
    known = np.isfinite(distances)
    return float(distances[known].mean()) if known.any() else float("nan")


def similarity_aligned(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Align ``predicted`` (N, 3) to ``truth`` (N, 3) by the least-squares similarity transform (Umeyama 1991, no
    reflection)."""
    centre_p, centre_t = predicted.mean(axis=0), truth.mean(axis=0)
    p, t = predicted - centre_p, truth - centre_t
    u, singular, vt = np.linalg.svd(t.T @ p)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (singular * signs).sum() / (p**2).sum()
    return scale * p @ (u * signs @ vt).T + centre_t


def pa_mpjpe(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean per-joint error of (21, 3) joints after Procrustes alignment; NaN if fewer than three are
    known."""
    known = np.isfinite(truth).all(axis=-1)
    if known.sum() < _MIN_ALIGNED:
        return float("nan")
    return float(np.linalg.norm(similarity_aligned(predicted[known], truth[known]) - truth[known], axis=-1).mean())


def mrrpe(
    predicted_left: np.ndarray, predicted_right: np.ndarray, true_left: np.ndarray, true_right: np.ndarray
) -> float:
    """Return one pair's relative-root position error: of the left wrist relative to the right one, (21, 3) joints
    each."""
    return float(np.linalg.norm((predicted_left[0] - predicted_right[0]) - (true_left[0] - true_right[0])))


def median_and_p95(values: np.ndarray) -> dict[str, float]:
    """Return the median and the 95th percentile of errors, as JSON data."""
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95))}
