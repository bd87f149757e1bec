"""One thread that always works on the newest frame."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """Holds one item; a newer one replaces it. So a slow reader never works on old frames."""

    def __init__(self):
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Stores an item; True when that dropped one nobody took."""
        with self._condition:
            dropped, self._item = self._item is not None, item
            self._condition.notify()
            return dropped

    def take(self) -> T | None:
        """Waits for an item; None once the slot is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Wakes the reader for good."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Worker:
    """Runs ``work`` in a thread until ``stop`` closes the slot that it reads."""

    def __init__(self, work: Callable[[], None], slot: NewestSlot):
        self._slot = slot
        self._thread = threading.Thread(target=work, name="wildhands worker")
        self._thread.start()

    def stop(self) -> None:
        """Lets the frame in work finish, then returns."""
        self._slot.close()
        self._thread.join()
