"""Memory of this process."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def release_unused_memory() -> None:
    """Returns freed memory to the system, such as that of files from which networks were made.

    It does so with glibc only; other C libraries do it by themselves or not at all.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
