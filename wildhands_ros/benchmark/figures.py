"""Times and what is said of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    p50, p95 = np.percentile(np.asarray(seconds) * 1e3, (50, 95))
    return {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}


def alternating(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, taken in turns, so that what else the machine does meets all of them; each is called once before."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """How many times as long ``slow`` takes: of the medians, and the quartiles of the ratios of each round."""
    rounds = np.asarray(slow) / np.asarray(fast)
    low, high = np.percentile(rounds, (25, 75))
    return {
        "ratio": round(float(np.median(slow) / np.median(fast)), 2),
        "ratio_quartiles": [round(float(low), 2), round(float(high), 2)],
    }
