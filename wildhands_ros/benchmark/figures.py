"""Measures times and summarises them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Returns the median and the 95th percentile in milliseconds."""
    p50, p95 = np.percentile(np.asarray(seconds) * 1e3, (50, 95))
    return {"p50_ms": round(float(p50), 3), "p95_ms": round(float(p95), 3)}


def alternating(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Measures the seconds of several calls.

    The calls take turns, so that other load on the machine affects all of them. Each is called once before it is
    measured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, object]:
    """Returns the ratio of the medians of ``slow`` and ``fast``, and the quartiles of the ratios of single rounds."""
    rounds = np.asarray(slow) / np.asarray(fast)
    low, high = np.percentile(rounds, (25, 75))
    return {
        "ratio": round(float(np.median(slow) / np.median(fast)), 2),
        "ratio_quartiles": [round(float(low), 2), round(float(high), 2)],
    }
