"""The lag of one signal behind another, to a fraction of a sample."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

_BLUR = 1.0
"""Standard deviation, in samples, of the symmetric Gaussian that smooths both velocities."""
_EARLIEST, _LATEST, _STEP = -2.0, 6.0, 0.02
"""Range and resolution of the search for the lag, in samples."""
_MIN_MOVING = 20
"""Minimum number of moving samples for an alignment."""


def lag(reference: np.ndarray, follower: np.ndarray, threshold: float) -> float:
    """Estimate by how many samples ``follower`` lags behind ``reference``.

    The reference's velocity is shifted by fractions of a sample (cubic spline); the shift with the least squared
    difference to the follower's velocity wins, over the samples in which the reference moves faster than ``threshold``.
    Both velocities are smoothed without delay first, because noise that they share would pull the result towards zero.

    Args:
        reference: (T, N, D) positions of N points. Samples with NaN and their neighbours are ignored.
        follower: (T, N, D), likewise.
        threshold: Speed in units per sample.

    Returns:
        The lag in samples; NaN if too little moves.
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
    if mask.any(1).sum() < _MIN_MOVING:
        return float("nan")
    spline = CubicSpline(times, velocities[0])
    shifts = np.arange(_EARLIEST, _LATEST, _STEP)
    return float(shifts[np.argmin([((spline(times - shift) - velocities[1])[mask] ** 2).sum() for shift in shifts])])


def _velocity(columns: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the smoothed velocity (T, C) per sample; samples that are not ``known`` are interpolated."""
    times = np.arange(len(known))
    filled = np.stack([np.interp(times, times[known], column[known]) for column in columns.T], axis=-1)
    return gaussian_filter1d(np.gradient(filled, axis=0), _BLUR, axis=0)
