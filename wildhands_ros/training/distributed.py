"""Communication between processes that train one network, as ``torchrun`` starts them; a no-op in a single process."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module

import torch
import torch.distributed as dist
from torch import Tensor

_TIMEOUT = timedelta(minutes=30)
"""How long one process waits for the others, which may be saving or reading a large dataset."""


@dataclass(frozen=True)
class Processes:
    """The processes that train together, and this one's rank among them."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum (N,) float64 values over the processes."""
        if self.count > 1:
            # NCCL reduces on its GPU only.
            values = values.to(self.device)
            dist.all_reduce(values)
        return values.cpu()

    def merge(self, counts: Counter[str]) -> Counter[str]:
        """Add up the counts of all processes."""
        if self.count == 1:
            return counts
        gathered: list[Counter[str] | None] = [None] * self.count
        dist.all_gather_object(gathered, counts)
        return sum((counts for counts in gathered if counts is not None), Counter())

    def same_for_all(self, value: object) -> object:
        """Return the first process's ``value``, which must be picklable, in all processes."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


def local_place() -> tuple[int, int]:
    """Return this process's rank among those that train together on this machine, and their number."""
    return int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Join the process group that torchrun's environment variables describe, if there is one.

    Args:
        device: A torch device or ``auto``.

    Raises:
        ValueError: There is no such device.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    chosen = _device(device, local_place()[0])
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # Optimizers and DDP import this module, whose functions capture the current group as a default argument. If it were
    # first imported once the group exists, it would keep the group alive, whose threads would outlive the interpreter
    # and could abort the process.
    import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Processes(dist.get_rank(), count, chosen)
    finally:
        dist.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: {name!r} is not a torch device") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device is {name!r}, but torch finds no GPU; use auto or cpu")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise ValueError(f"there is no device {device}; torch finds {torch.cuda.device_count()} GPU(s)")
    return device
