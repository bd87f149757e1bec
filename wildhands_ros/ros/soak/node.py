"""The node of a soak: the real one, whose estimator fails at pictures of certain colours."""

from __future__ import annotations

import sys

import numpy as np

from ..loader import make_estimator
from ..node import main
from ..parameters import Parameters
from .faults import EXHAUST, RAISE


class Poisonable:
    """An estimator that can be made to fail by what it sees."""

    def __init__(self, estimator):
        self._estimator = estimator

    def __getattr__(self, name: str):
        return getattr(self._estimator, name)

    def __call__(self, image: np.ndarray, *arguments, **options):
        corner = image[0, 0].tobytes()
        if corner == RAISE:
            raise RuntimeError("a fault of the soak")
        if corner == EXHAUST:
            raise _out_of_memory()
        return self._estimator(image, *arguments, **options)


def _out_of_memory() -> Exception:
    """As torch raises it on a GPU."""
    import torch

    return torch.OutOfMemoryError("CUDA out of memory (a fault of the soak)")


def make_poisonable(parameters: Parameters) -> Poisonable:
    return Poisonable(make_estimator(parameters))


if __name__ == "__main__":
    sys.exit(main(make_estimator=make_poisonable))
