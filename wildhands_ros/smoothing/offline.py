"""Smoothing of recorded tracks, which uses past and future frames and therefore does not lag.

At each time of a track, a straight line in time is fitted to each hand parameter under a Gaussian window; its value
at that time is the smoothed parameter. The caller poses joints and mesh from the smoothed parameters, so that they
agree. Frame rates may be uneven; a gap splits a track into pieces that are smoothed independently.
"""

from __future__ import annotations

import numpy as np

from ..geometry.so3 import (
    inverse_quaternions,
    quaternion_product,
    quaternions_from_vectors,
    vectors_from_quaternions,
)
from ..types import ManoParameters

WIDTH = 0.045
"""Standard deviation of the window in seconds: halves a motion of 4 Hz and passes 96 % of one of 1 Hz."""
REACH = 3 * WIDTH
MAX_GAP = 0.2
"""Seconds without the hand that split a track."""


def smooth_track(stamps: np.ndarray, manos: list[ManoParameters]) -> list[ManoParameters]:
    """Smooths the parameters of one hand.

    Args:
        stamps: (N,) ascending, in seconds.
        manos: the N parameters.

    Returns:
        The N smoothed parameters. All have the same shape, the median over the track.
    """
    transl = np.stack([mano.transl for mano in manos])
    rotvecs = np.stack([np.vstack([mano.global_orient, np.reshape(mano.hand_pose, (15, 3))]) for mano in manos])
    rotations = quaternions_from_vectors(rotvecs)
    betas = np.median([mano.betas for mano in manos], axis=0)
    starts = np.flatnonzero(np.diff(stamps, prepend=-np.inf) > MAX_GAP).tolist()
    result: list[ManoParameters] = []
    for start, stop in zip(starts, [*starts[1:], len(stamps)], strict=True):
        for now in range(start, stop):
            first = start + int(np.searchsorted(stamps[start:stop], stamps[now] - REACH))
            last = start + int(np.searchsorted(stamps[start:stop], stamps[now] + REACH, "right"))
            near = slice(first, last)
            weights = _line_weights(stamps[near] - stamps[now])
            # Average in the tangent space of this frame's rotation, where the neighbouring rotations are close to zero.
            relative = quaternion_product(inverse_quaternions(rotations[now]), rotations[near])
            offset = quaternions_from_vectors(np.tensordot(weights, vectors_from_quaternions(relative), 1))
            smoothed = vectors_from_quaternions(quaternion_product(rotations[now], offset))
            result.append(ManoParameters(weights @ transl[near], smoothed[0], smoothed[1:].ravel(), betas))
    return result


def _line_weights(times: np.ndarray) -> np.ndarray:
    """Returns (N,) weights whose dot product with N values is the weighted least-squares line's value at time 0."""
    weights = np.exp(-0.5 * (times / WIDTH) ** 2)
    s0, s1, s2 = weights.sum(), weights @ times, weights @ times**2
    determinant = s0 * s2 - s1**2
    if determinant < 1e-12 * s0**2:
        return weights / s0  # a single frame
    return weights * (s2 - s1 * times) / determinant
