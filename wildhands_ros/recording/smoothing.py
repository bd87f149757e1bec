"""Smoothing that looks both ways in time: for recordings, where the future is known, so that nothing lags.

Each track's hand parameters are fitted, at each of its times, by a straight line in time under a Gaussian window; joints and mesh are then
posed anew from them, so that all that is said of a hand agrees. Works for uneven frame rates; a gap ends a track's piece.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ..types import ManoParameters

WIDTH = 0.045
"""Seconds, the window's standard deviation: halves a motion of 4 Hz, and passes one of 1 Hz to 96 %."""
REACH = 3 * WIDTH
MAX_GAP = 0.2
"""Seconds without the hand after which its motion is not bridged."""


def smooth_track(stamps: np.ndarray, manos: list[ManoParameters]) -> list[ManoParameters]:
    """One hand's parameters at rising ``stamps`` (N,) in seconds, smoothed; the shape becomes that of the whole track."""
    transl = np.stack([mano.transl for mano in manos])
    rotvecs = np.stack([np.vstack([mano.global_orient, np.reshape(mano.hand_pose, (15, 3))]) for mano in manos])
    betas = np.median([mano.betas for mano in manos], axis=0)
    starts = np.flatnonzero(np.diff(stamps, prepend=-np.inf) > MAX_GAP).tolist()
    result: list[ManoParameters] = []
    for start, stop in zip(starts, [*starts[1:], len(stamps)], strict=True):
        for now in range(start, stop):
            near = start + np.flatnonzero(np.abs(stamps[start:stop] - stamps[now]) <= REACH)
            weights = _line_weights(stamps[near] - stamps[now])
            here = Rotation.from_rotvec(rotvecs[now])
            # In the tangent space at this frame's own rotation, where neighbours are close to zero.
            turns = np.stack([(here.inv() * Rotation.from_rotvec(rotvecs[other])).as_rotvec() for other in near])
            turned = (here * Rotation.from_rotvec(np.tensordot(weights, turns, 1))).as_rotvec()
            result.append(ManoParameters(weights @ transl[near], turned[0], turned[1:].ravel(), betas))
    return result


def _line_weights(times: np.ndarray) -> np.ndarray:
    """(N,) weights that give a weighted least-squares line's value at time 0."""
    weights = np.exp(-0.5 * (times / WIDTH) ** 2)
    s0, s1, s2 = weights.sum(), weights @ times, weights @ times**2
    determinant = s0 * s2 - s1**2
    if determinant < 1e-12 * s0**2:
        return weights / s0  # one frame alone
    return weights * (s2 - s1 * times) / determinant
