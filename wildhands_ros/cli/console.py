"""What commands write to stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from .exit_codes import EXIT_INCOMPLETE, EXIT_OK

FIRST_REPORT, REPORT_PERIOD = 1.0, 10.0
"""Seconds after which work is reported for the first time, and seconds between the further reports."""

T = TypeVar("T")


def warn(message: str) -> None:
    """Prints one line that names the program."""
    print(f"wildhands: {message}", file=sys.stderr)


def report_problems(problems: Sequence[str]) -> int:
    """Prints what could not be read, one line each, and returns the exit code."""
    for problem in problems:
        warn(problem)
    return EXIT_INCOMPLETE if problems else EXIT_OK


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


def with_progress(items: Iterable[T], total: int | None, unit: str) -> Iterator[T]:
    """Yields the items and reports progress on stderr: as a bar on a terminal, otherwise as a line now and then."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, unit=unit, file=sys.stderr, leave=False)
        return
    due = time.monotonic() + FIRST_REPORT
    of_total = f" of {total}" if total else ""
    for number, item in enumerate(items, start=1):
        if time.monotonic() >= due:
            warn(f"{unit} {number}{of_total}")
            due = time.monotonic() + REPORT_PERIOD
        yield item
