"""How many threads a network gets."""

from __future__ import annotations

import math
import os
from pathlib import Path

_MOST = 8
"""More have nothing to do at the crops of one frame."""


def available_cpus() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, math.ceil(int(quota) / int(period))))


def network_threads(cpus: int) -> int:
    """All of two cores; of more, one is left to what runs beside the network: detector, messages, the camera's driver."""
    return max(1, min(cpus if cpus <= 2 else cpus - 1, _MOST))
