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

LOADING = "loading the networks; the first start on a machine also compiles them, which takes minutes at worst"
STARTING = "wildhands: starting: loading libraries"

T = TypeVar("T")

_spoke = threading.Event()
"""Set once this process has reported anything."""


@contextmanager
def starting() -> Iterator[None]:
    """Context manager that says that the program is starting, if it has reported nothing else after a second.

    Importing libraries for the first time takes many seconds on a busy machine, or from a slow disk.
    """

    def report() -> None:
        if not _spoke.wait(FIRST_REPORT):
            print(STARTING, file=sys.stderr, flush=True)

    threading.Thread(target=report, daemon=True, name="wildhands start").start()
    try:
        yield
    finally:
        _spoke.set()


def warn(message: str) -> None:
    """Prints one line that names the program."""
    _spoke.set()
    print(f"wildhands: {printable(message)}", file=sys.stderr)


def say(message: str) -> None:
    """Prints a result to stdout; names of files and topics in it may come from strangers."""
    print(printable(message), flush=True)


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

            _spoke.set()
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
