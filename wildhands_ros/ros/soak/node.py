"""The node of a soak: the real node with an estimator that fails on images of certain colours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...config import SmoothingConfig
from ..loader import make_estimator
from ..node import main
from ..parameters import Parameters
from ..process import run_main
from .faults import ERROR_COLOUR, OUT_OF_MEMORY_COLOUR

if TYPE_CHECKING:
    from ...estimator import Estimator


class FaultyEstimator:
    """Wraps an estimator and raises an error if the first pixel of an image has a certain colour."""

    def __init__(self, estimator: Any):
        """Takes an ``Estimator``, or a test's fake with the same methods."""
        self._estimator = estimator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    @property
    def smoothing(self) -> SmoothingConfig | None:
        """The strength of smoothing, which the node sets."""
        return self._estimator.smoothing

    @smoothing.setter
    def smoothing(self, config: SmoothingConfig | None) -> None:
        self._estimator.smoothing = config

    def __call__(self, image: np.ndarray, *arguments: Any, **options: Any) -> Any:
        colour = image[0, 0].tobytes()
        if colour == ERROR_COLOUR:
            raise RuntimeError("a fault injected by the soak")
        if colour == OUT_OF_MEMORY_COLOUR:
            raise MemoryError("a fault injected by the soak")
        return self._estimator(image, *arguments, **options)


def make_faulty_estimator(parameters: Parameters) -> Estimator:
    """Makes the node's estimator and wraps it."""
    return cast("Estimator", FaultyEstimator(make_estimator(parameters)))  # it has all of an estimator's methods


if __name__ == "__main__":
    run_main(partial(main, make_estimator=make_faulty_estimator))
