"""What long work says on stderr while it lasts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from .errors import printable

if TYPE_CHECKING:
    from tqdm import tqdm

FIRST_REPORT, REPORT_PERIOD = 1.0, 10.0
"""Seconds after which work is reported for the first time, and seconds between the further reports."""

T = TypeVar("T")


def warn(message: str) -> None:
    """Prints one line that names the program."""
    print(f"wildhands: {printable(message)}", file=sys.stderr)


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Context manager that reports work without countable steps, if it takes long, and how long it has taken so far."""
    done, start = threading.Event(), time.monotonic()

    def report() -> None:
        wait = FIRST_REPORT
        while not done.wait(wait):
            elapsed = time.monotonic() - start
            warn(what if wait == FIRST_REPORT else f"{what} ({elapsed:.0f} s so far)")
            wait = REPORT_PERIOD

    thread = threading.Thread(target=report, daemon=True, name="wildhands progress")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Progress:
    """Context manager that reports countable work: as a bar on a terminal, otherwise as a line now and then."""

    def __init__(self, total: int | None, unit: str, of: str = "", done: int = 0):
        """Begins the work.

        Args:
            total: number of steps; None if unknown.
            unit: what a step is, such as "frame".
            of: name of the work, if there are several.
            done: steps that were done before.
        """
        self._of_total = f" of {total}" if total else ""
        self._unit, self._of, self._done = unit, f"{of}: " if of else "", done
        self._due = time.monotonic() + FIRST_REPORT
        self._bar: tqdm | None = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=unit, desc=of or None, file=sys.stderr, leave=False)

    def show(self, done: int) -> None:
        """Reports the number of steps that are done."""
        if self._bar is not None:
            self._bar.update(done - self._done)
        elif time.monotonic() >= self._due:
            warn(f"{self._of}{self._unit} {done}{self._of_total}")
            self._due = time.monotonic() + REPORT_PERIOD
        self._done = done

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def with_progress(items: Iterable[T], total: int | None, unit: str) -> Iterator[T]:
    """Yields the items and reports progress."""
    with Progress(total, unit) as progress:
        for number, item in enumerate(items, start=1):
            progress.show(number)
            yield item
