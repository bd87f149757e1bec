"""The fit of one hand, as tests want it."""

from wildhands_ros.fitting.keypoint_fit import FitResult, KeypointFit


def fit_hand(fit: KeypointFit, *args, **kwargs) -> FitResult:
    """Fits one hand; takes the arguments of ``KeypointFit.problem``."""
    return fit.solve([fit.problem(*args, **kwargs)])[0]
