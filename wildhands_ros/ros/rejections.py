"""Input that the node refuses: counted by name, and logged at a bounded rate."""

from __future__ import annotations

from collections import Counter

FAILURES = ("internal_error", "out_of_memory")
"""Names of what went wrong in the node itself, not in its input."""


class InputRejected(ValueError):
    """One message of the stream cannot be used; the next one may be. The text says what is wrong and what to do."""

    def __init__(self, name: str, message: str):
        """Takes the ``name`` under which diagnostics count it, in lower case with underscores."""
        super().__init__(message)
        self.name = name


class Rejections:
    """Counts refusals by name and says which are due for the log."""

    def __init__(self, log_period: float = 5.0):
        """Lets each name be logged once in ``log_period`` seconds."""
        self.counts: Counter[str] = Counter()
        self.last_message = ""
        self._messages: dict[str, str] = {}
        self._last: dict[str, float] = {}
        self._log_period = log_period
        self._last_logged: dict[str, float] = {}

    def add(self, refusal: InputRejected, now: float) -> bool:
        """Counts one refusal at ``now`` (seconds of a monotonic clock); True when it should be logged."""
        self.counts[refusal.name] += 1
        self.last_message = self._messages[refusal.name] = str(refusal)
        self._last[refusal.name] = now
        due = now - self._last_logged.get(refusal.name, -float("inf")) >= self._log_period
        if due:
            self._last_logged[refusal.name] = now
        return due

    def last_of(self, name: str) -> str:
        """The last message under a name that was counted."""
        return self._messages[name]

    def since(self, moment: float) -> list[str]:
        """The last message under each name that was counted after that."""
        return [self._messages[name] for name, last in self._last.items() if last > moment]


def of_failure(error: Exception) -> InputRejected:
    """A frame's failure in the node itself, for the counts."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which may not be there
        return InputRejected("out_of_memory", f"no memory for a frame ({text}): free the device, or choose another")
    return InputRejected("internal_error", f"a frame failed ({text}): a bug, please report it with the log")
