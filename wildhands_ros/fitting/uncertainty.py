"""Calibration of the fits' covariances: what keypoints of a network are worth, measured on the synthetic world.

The fit assumes that the errors of the keypoints are independent and that hands have the model's proportions. Neither is
true: keypoints of bent or hidden fingers are wrong together, so that the hand is turned, bent or too far away. The
constants were chosen with ``wildhands evaluate depth`` and ``wildhands evaluate synthetic`` on the split val, so that
68 and 95 % of the errors lie within one and two standard deviations along each axis.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .keypoint_fit import FitResult

STDDEV_FACTOR = 2.2
"""Standard deviation over that of independent errors."""
DISTANCE_STDDEV = 0.09
"""Standard deviation of the distance of a fit to keypoints alone, as a fraction of the distance."""
_USUAL_COST = 40.0
"""Cost of the fit up to which its keypoints agree with each other."""


def disagreement(fit: FitResult) -> float:
    """Returns the factor (at least 1) by which a fit's variance grows because no hand explains its keypoints well."""
    return max(1.0, fit.cost / _USUAL_COST)


def calibrated(fit: FitResult) -> FitResult:
    """Returns a fit to keypoints alone with calibrated standard deviations and covariance."""
    factor = disagreement(fit)
    distance = DISTANCE_STDDEV * fit.wrist_position
    covariance = factor * STDDEV_FACTOR**2 * fit.wrist_covariance
    covariance[:3, :3] += factor * np.outer(distance, distance)
    variance = factor * ((STDDEV_FACTOR * fit.joints_stddev) ** 2 + (DISTANCE_STDDEV * fit.joints) ** 2)
    return replace(fit, joints_stddev=np.sqrt(variance), wrist_covariance=covariance)
