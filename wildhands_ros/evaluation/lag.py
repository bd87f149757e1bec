"""How much later one signal follows another, to a fraction of a sample."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

_BLUR = 1.0
"""Samples: standard deviation of the Gaussian that both velocities are smoothed with, the same way forwards and backwards."""
_EARLIEST, _LATEST, _STEP = -2.0, 6.0, 0.02
"""Samples between which the lag is looked for."""
_FEWEST = 20
"""Moving samples without which there is nothing to align."""


def lag(reference: np.ndarray, follower: np.ndarray, threshold: float) -> float:
    """Samples by which ``follower`` lags; NaN where too little moves.

    The velocities of both are cross-correlated: of all shifts of the reference's by fractions of a sample (cubic spline), the one counts
    that leaves the least squared difference where the reference moves faster than ``threshold``. Both are first smoothed without delay, for
    noise that the two have in common would pull the result to zero.

    Args:
        reference, follower: (T, N, D) positions of N points; frames with NaN, and their neighbours, are left out.
        threshold: units a sample.
    """
    known = np.isfinite(reference).all((1, 2)) & np.isfinite(follower).all((1, 2))
    margin = int(np.ceil(_LATEST)) + 2
    usable = np.convolve(known, np.ones(2 * margin + 1), "same") == 2 * margin + 1
    if not usable.any():
        return float("nan")
    times = np.arange(len(known))
    velocities = [_velocity(positions.reshape(len(known), -1), known) for positions in (reference, follower)]
    moving = np.linalg.norm(velocities[0].reshape(reference.shape), axis=-1) > threshold
    mask = (moving & usable[:, None]).repeat(reference.shape[-1], axis=1)
    if mask.any(1).sum() < _FEWEST:
        return float("nan")
    spline = CubicSpline(times, velocities[0])
    shifts = np.arange(_EARLIEST, _LATEST, _STEP)
    return float(shifts[np.argmin([((spline(times - shift) - velocities[1])[mask] ** 2).sum() for shift in shifts])])


def _velocity(columns: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(T, C) a sample, of (T, C) numbers of which only some frames are known."""
    times = np.arange(len(known))
    filled = np.stack([np.interp(times, times[known], column[known]) for column in columns.T], axis=-1)
    return gaussian_filter1d(np.gradient(filled, axis=0), _BLUR, axis=0)
