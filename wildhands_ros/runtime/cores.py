"""Divides the cores of this machine among processes. Standard library only: launch files import it."""

from __future__ import annotations

import os


def divided_cores(index: int, count: int) -> list[int]:
    """Returns the cores of one of several processes that divide those of this machine among themselves.

    Busy processes take less processor time on cores of their own: their threads neither wait for those of the others
    nor displace the others' data from the caches.

    Args:
        index: number of the process, from 0.
        count: number of the processes; if there are more of them than cores, each gets all cores, because on some they
            would be more than on others.
    """
    cores = sorted(os.sched_getaffinity(0))
    return cores[index::count] if count <= len(cores) else cores
