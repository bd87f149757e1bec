"""The fit of one hand, as tests want it."""

from collections.abc import Sequence

import numpy as np

from wildhands_ros.fitting.keypoint_fit import FitResult, KeypointFit
from wildhands_ros.fitting.residuals import Evaluated


def fit_hand(fit: KeypointFit, *args, **kwargs) -> FitResult:
    """Fits one hand; takes the arguments of ``KeypointFit.problem``."""
    return fit.solve([fit.problem(*args, **kwargs)])[0]


def assert_same_solutions(found: Sequence[Evaluated], expected: Sequence[Evaluated]) -> None:
    """Checks that two solvers have found the same."""
    for one, other in zip(found, expected, strict=True):
        for name in ("rotation", "position", "angles", "betas"):
            np.testing.assert_allclose(getattr(one.pose, name), getattr(other.pose, name), atol=1e-6)
        np.testing.assert_allclose(one.joints, other.joints, atol=1e-6)
        np.testing.assert_allclose(one.jacobian, other.jacobian, atol=1e-6)
        scale = np.abs(other.normal.matrix).max()
        np.testing.assert_allclose(one.normal.cost, other.normal.cost, rtol=1e-6)
        np.testing.assert_allclose(one.normal.matrix / scale, other.normal.matrix / scale, atol=1e-6)
        np.testing.assert_allclose(one.normal.gradient / scale, other.normal.gradient / scale, atol=1e-6)
