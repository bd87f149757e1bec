"""Work on all cores: processes of one thread each, which end with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection
from threading import Event, Thread
from typing import Any, NamedTuple, TypeVar

from .threads import use_one_thread

T = TypeVar("T")


class Workers(NamedTuple):
    """Processes that work for this one."""

    count: int
    """At the same time."""
    map: Callable[[Callable[[T], Any], Iterable[T]], Iterator[Any]]
    """As the built-in one, but yields what is done first; both arguments are pickled. Raises what the function raises, and OSError where a
    process was killed; what the others do then ends."""


@contextmanager
def processes(count: int, module: str | None = None) -> Iterator[Workers]:
    """``count`` processes, which start when there is work for them, or at once to import the ``module`` that they are going to need, while
    this one does other things. Leaving with an error, as by Ctrl-C, ends them at once."""
    # Its other end is open in this process alone, so that it ends however this process does.
    lifeline, end = multiprocessing.Pipe(duplex=False)
    # Forking beside the threads of torch and OpenVINO may hang.
    context = multiprocessing.get_context("spawn")
    with (
        lifeline,
        ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(lifeline, module)) as pool,
    ):

        def submit(function: Callable[[T], Any], items: Iterable[T]) -> list[Future]:
            # Ctrl-C reaches all processes of a terminal: here it waits, and those that start now inherit that they need not heed it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return [pool.submit(function, item) for item in items]
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

        def run(function: Callable[[T], Any], items: Iterable[T]) -> Iterator[Any]:
            futures = submit(function, items)
            try:
                for done in as_completed(futures):
                    yield done.result()
            except BrokenProcessPool as error:
                raise ChildProcessError("a worker process was killed, perhaps for want of memory") from error

        try:
            if module is not None:
                submit(bool, range(count))  # the first work starts them
            yield Workers(count, run)
        except BaseException:
            end.close()
            raise
    end.close()


def in_processes(function: Callable[[T], Any], items: Iterable[T], count: int) -> Iterator[Any]:
    """Calls ``function`` with each of ``items`` in ``count`` processes, for one in this one; see ``Workers.map``."""
    if count == 1:
        yield from map(function, items)
        return
    with processes(count) as workers:
        yield from workers.map(function, items)


@contextmanager
def repeated(action: Callable[[], None], seconds: float) -> Iterator[None]:
    """Does something again and again, in a thread, while this one is in the block."""
    ended = Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            action()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _start(lifeline: Connection, module: str | None) -> None:
    use_one_thread()
    Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    if module is not None:
        import_module(module)


def _end_with(lifeline: Connection) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)
