"""What this machine's arithmetic allows, as a limit for the time of a frame."""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

TRUNK_GMAC = 0.331
"""Multiplications of the default network's trunk for one hand, in thousand millions."""
_SIZE = 1024
_REPEATS = 12


def gemm_gflops() -> float:
    """Returns the rate of one core in products of float32 matrices, in thousand million operations per second.

    Every product counts with its processor time, so that other work on the machine hardly matters.
    """
    a, b = np.random.default_rng(0).random((2, _SIZE, _SIZE), np.float32)
    seconds = []
    with threadpool_limits(1):
        for _ in range(_REPEATS):
            start = time.thread_time()
            a @ b
            seconds.append(time.thread_time() - start)
    return 2 * _SIZE**3 / min(seconds) / 1e9


def trunk_limit_ms(gflops: float, hands: int, cores: int) -> float:
    """Returns the milliseconds in which the trunk's arithmetic alone would be done for the hands of a frame.

    Args:
        gflops: rate of one core, as ``gemm_gflops`` returns it.
        hands: number of hands.
        cores: number of cores, of which each hand can keep one busy.
    """
    return 2 * TRUNK_GMAC / gflops * 1e3 * hands / min(hands, cores)
