"""Input that the node refuses: counted by name, and logged at a bounded rate."""

from __future__ import annotations

from collections import Counter


class InputRefused(ValueError):
    """One message of the stream cannot be used; the next one may be. The text says what is wrong and what to do."""

    def __init__(self, name: str, message: str):
        """Takes the ``name`` under which diagnostics count it, in lower case with underscores."""
        super().__init__(message)
        self.name = name


class Refusals:
    """Counts refusals by name and says which are due for the log."""

    def __init__(self, log_period: float = 5.0):
        """Lets each name be logged once in ``log_period`` seconds."""
        self.counts: Counter[str] = Counter()
        self.last_message = ""
        self._log_period = log_period
        self._last_logged: dict[str, float] = {}

    def add(self, refusal: InputRefused, now: float) -> bool:
        """Counts one refusal at ``now`` (seconds of a monotonic clock); True when it should be logged."""
        self.counts[refusal.name] += 1
        self.last_message = str(refusal)
        due = now - self._last_logged.get(refusal.name, -float("inf")) >= self._log_period
        if due:
            self._last_logged[refusal.name] = now
        return due
