"""Networks that are loaded once in a process, and used by everybody there who asks for the same one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

_lock = threading.Lock()
_in_use: WeakValueDictionary[Hashable, object] = WeakValueDictionary()


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """Returns what ``make`` returned for the same key, if that is still in use; otherwise calls it.

    Only one thread makes something at a time: two that asked for the same would need twice the memory and, where
    runtimes are measured, disturb each other.

    Args:
        key: Identifies the result, together with its type.
        make: Makes an object that can be referenced weakly and used in several threads at once.
    """
    with _lock:
        found = _in_use.get(key)
        if found is None:
            found = _in_use[key] = make()
        return found  # type: ignore[return-value]  # the type belongs to the key
