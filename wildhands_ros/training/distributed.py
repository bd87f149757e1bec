"""Several processes that train one network, as ``torchrun`` starts them; alone, everything here is a no-op."""

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
"""How long one process waits for the others, which may be saving or reading a large data set."""


@dataclass(frozen=True)
class Processes:
    """Of the processes that train together: this one's place among them."""

    rank: int
    count: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """(N,) float64 summed over the processes."""
        if self.count > 1:
            # NCCL reduces on its GPU only.
            values = values.to(self.device)
            dist.all_reduce(values)
        return values.cpu()

    def merge(self, counts: Counter[str]) -> Counter[str]:
        """The counts of all processes together."""
        if self.count == 1:
            return counts
        gathered: list[Counter[str] | None] = [None] * self.count
        dist.all_gather_object(gathered, counts)
        return sum(gathered, Counter())

    def same_for_all(self, value: object) -> object:
        """The first process's ``value``, which can be pickled."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]


def local_place() -> tuple[int, int]:
    """Among the processes on this machine that train together: this one's place and their number."""
    return int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """Joins the group that torchrun's variables describe, if there is one. ``device`` is a torch device or ``auto``.

    Raises ValueError for a device that there is not.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    chosen = _device(device, local_place()[0])
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    # Optimizers and DDP import this, whose functions have the group of that time as a default. Imported only then, it would keep the group,
    # and the group's threads would outlive the interpreter: one that still has a tensor to give back aborts the process.
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
            raise ValueError(f"device: {name!r}, but torch sees no GPU here; use auto or cpu")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise ValueError(f"device: there is no {device}; torch sees {torch.cuda.device_count()} GPU(s)")
    return device
