"""Rejected input: counted by name, and logged at a limited rate."""

from __future__ import annotations

from collections import Counter

from ..io.errors import printable

FAILURES = ("internal_error", "out_of_memory")
"""Names of failures of the node itself, as opposed to unusable input."""


class InputRejected(ValueError):
    """A message cannot be used, but the next one may be. The text says what is wrong and what to do."""

    def __init__(self, name: str, message: str):
        """Creates a rejection.

        Args:
            name: name under which diagnostics count it; lower case with underscores.
            message: message for the user.
        """
        super().__init__(printable(message))
        self.name = name


class Rejections:
    """Counts rejections by name and limits how often each name is logged."""

    def __init__(self, log_period: float = 5.0):
        """Creates an empty count; each name is logged at most once in ``log_period`` seconds."""
        self.counts: Counter[str] = Counter()
        self.last_message = ""
        self._messages: dict[str, str] = {}
        self._last: dict[str, float] = {}
        self._log_period = log_period
        self._last_logged: dict[str, float] = {}

    def add(self, rejection: InputRejected, now: float) -> bool:
        """Counts a rejection at ``now`` (seconds of a monotonic clock). Returns whether it should be logged."""
        self.counts[rejection.name] += 1
        self.last_message = self._messages[rejection.name] = str(rejection)
        self._last[rejection.name] = now
        due = now - self._last_logged.get(rejection.name, -float("inf")) >= self._log_period
        if due:
            self._last_logged[rejection.name] = now
        return due

    def last_of(self, name: str) -> str:
        """Returns the latest message of a name that has been counted."""
        return self._messages[name]

    def since(self, time: float) -> list[str]:
        """Returns the latest message of each name that has been counted after ``time``."""
        return [self._messages[name] for name, last in self._last.items() if last > time]


def failure(error: Exception) -> InputRejected:
    """Returns the rejection that counts a frame on which the node itself failed."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    # torch.OutOfMemoryError is compared by name, since torch may not be imported.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return InputRejected(
            "out_of_memory", f"out of memory on a frame ({text}): free memory on the device, or select another device"
        )
    return InputRejected("internal_error", f"a frame failed ({text}): this is a bug, please report it with the log")
