"""Parallel work in processes of one thread each, which end with the parent process."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from threading import Event, Thread
from typing import Any, TypeVar

from .threads import use_one_thread

T = TypeVar("T")

END_WITH_PARENT = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
"""Start of a command that the kernel terminates when the parent process is killed. setpriv is part of util-linux."""


@dataclass(frozen=True)
class Workers:
    """A pool of worker processes."""

    count: int
    """Number of processes."""
    map: Callable[[Callable[[T], Any], Iterable[T]], Iterator[Any]]
    """Like the built-in ``map``, but yields results in the order in which they are completed. Function and items are
    pickled. Raises what the function raises, or OSError if a process was killed; the other processes then end, too."""


@contextmanager
def processes(count: int, module: str | None = None) -> Iterator[Workers]:
    """Provides worker processes. Leaving with an error, such as Ctrl-C, ends them at once.

    Args:
        count: number of processes.
        module: a module that the processes import while this process does other things; they then start at once.
            Otherwise they start when there is work.
    """
    # Only this process holds the other end, so workers notice when it ends for whatever reason.
    lifeline, end = multiprocessing.Pipe(duplex=False)
    # Forking beside the threads of torch and OpenVINO may hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with (
        lifeline,
        ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(lifeline, module)) as pool,
    ):

        def submit(function: Callable[[T], Any], items: Iterable[T]) -> list[Future]:
            # Ctrl-C reaches all processes of a terminal. Processes that start here inherit the blocked signal.
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
                raise ChildProcessError("a worker process was killed, possibly because memory ran out") from error

        try:
            if module is not None:
                submit(bool, range(count))  # processes start with their first work
            yield Workers(count, run)
        except BaseException:
            # A worker that is still starting does not look at its lifeline yet.
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()
            end.close()
            raise
    end.close()


def in_processes(function: Callable[[T], Any], items: Iterable[T], count: int) -> Iterator[Any]:
    """Calls a function with each item in ``count`` processes, or in this one if ``count`` is 1; see ``Workers.map``."""
    if count == 1:
        yield from map(function, items)
        return
    with processes(count) as workers:
        yield from workers.map(function, items)


@contextmanager
def repeated(action: Callable[[], None], seconds: float) -> Iterator[None]:
    """Context manager that calls ``action`` periodically, in a thread."""
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
