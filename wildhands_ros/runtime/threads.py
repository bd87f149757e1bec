"""Numbers of threads. PyTorch is imported late, because importing it takes longer than starting a process."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits

_MOST = 8
"""More threads find no work in the crops of one frame."""
_alone = True


def available_cpus() -> int:
    """Returns the number of cores that this process may use, by its affinity and its container's quota."""
    cpus = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return cpus
    return cpus if quota == "max" else max(1, min(cpus, math.ceil(int(quota) / int(period))))


def use_one_thread() -> None:
    """Limits this process to one thread for good.

    It is one of several processes with one core each, and results must not depend on their number.
    """
    global _alone
    _alone = False
    os.environ["OMP_NUM_THREADS"] = "1"  # PyTorch's number of threads, if it is imported later
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
    cv2.setNumThreads(1)
    threadpool_limits(1)


def one_blas_thread() -> None:
    """Limits NumPy's linear algebra in this process to one thread for good.

    The matrices are small here. Beside other work, a second thread lets the inverse of a 3 x 3 matrix wait
    milliseconds.
    """
    threadpool_limits(1, user_api="blas")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Context manager that limits PyTorch to one thread.

    With small tensors, on cores that have other work, PyTorch's threads wait for each other many times longer than they
    compute.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def openvino_threads(side_by_side: bool = False) -> dict[str, object]:
    """Returns OpenVINO's options for the threads of this process.

    Args:
        side_by_side: whether each inference runs on one of the threads, beside others, instead of on all of them.
    """
    options: dict[str, object] = {"INFERENCE_NUM_THREADS": inference_threads()}
    if side_by_side:
        options["NUM_STREAMS"] = inference_threads()
    if not _alone:  # With pinning, all processes would run on the first core.
        options["ENABLE_CPU_PINNING"] = False
    return options


def inference_threads() -> int:
    """Returns the number of threads of the network in this process."""
    return network_threads(available_cpus()) if _alone else 1


def network_threads(cpus: int) -> int:
    """Returns the number of threads of the network: both of two cores; otherwise cores - 1, at most 8.

    The remaining core is for the detector, messages and the camera's driver.
    """
    return max(1, min(cpus if cpus <= 2 else cpus - 1, _MOST))
