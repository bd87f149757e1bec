"""Runs a node as a process that ends in an orderly way, quickly and without a traceback, whenever a signal arrives.

Only the standard library is imported here, because a signal may arrive while the node's modules are being imported,
which takes seconds.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

from .surroundings import adapt_to_machine

CLOSING_TIME = 1.0
"""Seconds after a signal for which closing may wait for work in progress."""
DEADLINE = 1.7
"""Seconds after a signal at which the process ends, even if something is still being closed."""

T = TypeVar("T")


class _Signals:
    """Handles SIGINT and SIGTERM: before ``begin`` the process ends at once, later it has until ``DEADLINE``."""

    def __init__(self) -> None:
        self._running = False
        self._reader, self._writer = os.pipe()
        # Started now: a signal handler must not start a thread, since it may have interrupted the start of another one.
        threading.Thread(target=self._end_at_deadline, daemon=True, name="wildhands deadline").start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def begin(self) -> None:
        """Called when rclpy is about to be initialised, whose own signal handlers end the node's executor."""
        self._running = True

    def _on_signal(self, number: int, frame: object) -> None:
        if not self._running:
            os._exit(0)
        os.write(self._writer, b"x")  # Further signals change nothing.

    def _end_at_deadline(self) -> None:
        os.read(self._reader, 1)
        time.sleep(DEADLINE)
        os._exit(0)


_signals: _Signals | None = None


def run(module: str) -> NoReturn:
    """Imports a node's module, runs its ``main`` and ends the process with the exit code that it returns."""
    run_main(lambda: importlib.import_module(module).main())


def run_main(main: Callable[[], int]) -> NoReturn:
    """Runs ``main`` and ends the process with the exit code that it returns.

    What other threads still do is not waited for, nor is the interpreter's own cleaning up, which takes long with large
    libraries.
    """
    global _signals
    _signals = _Signals()
    code = 1
    try:
        adapt_to_machine()
    except (OSError, ValueError) as error:
        print(f"wildhands: {error}", file=sys.stderr, flush=True)
        os._exit(code)
    try:
        code = main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # The reader has gone.
                stream.flush()
        os._exit(code)


def init(initialise: Callable[[], T]) -> T:
    """Calls ``initialise``, which is rclpy's ``init``, at the moment from which signals end the node's executor."""
    if _signals is not None:
        _signals.begin()
    return initialise()
