"""How many threads what computes gets. PyTorch is imported where it is meant, for it takes longer than starting a process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits

_MOST = 8
"""More have nothing to do at the crops of one frame."""
_alone = True


def available_cpus() -> int:
    """Cores that this process may use: its affinity, and the quota of its container."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, math.ceil(int(quota) / int(period))))


def use_one_thread() -> None:
    """From now on everything that computes in this process takes one thread: it is one of several, a core each, and what comes out must not
    depend on how many they are."""
    import torch

    global _alone
    _alone = False
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)


def one_blas_thread() -> None:
    """From now on numpy's linear algebra takes one thread in this process: its matrices are small here, and beside other work a second
    thread makes the inverse of a 3 x 3 matrix wait for milliseconds."""
    threadpool_limits(1, user_api="blas")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """For a while PyTorch takes one thread in this one: for small work, on cores that have other work too, its threads wait for one another
    many times longer than they compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def openvino_threads() -> dict[str, object]:
    """The options with which a network is compiled for this process."""
    if _alone:
        return {"INFERENCE_NUM_THREADS": network_threads(available_cpus())}
    # Pinned, the processes would all sit on the first core.
    return {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}


def network_threads(cpus: int) -> int:
    """All of two cores; of more, one is left to what runs beside the network: detector, messages, the camera's driver."""
    return max(1, min(cpus if cpus <= 2 else cpus - 1, _MOST))
