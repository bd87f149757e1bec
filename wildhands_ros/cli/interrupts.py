"""Ends commands within two seconds of Ctrl-C, also while they are in a library that does not notice signals."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from ..io.files import remove_partial_files
from ..io.progress import warn
from .exit_codes import EXIT_INTERRUPTED

DEADLINE = 1.5
"""Seconds after a signal that a command has to end by itself."""


@contextmanager
def prompt_end(consequence: str) -> Iterator[None]:
    """Context manager in which SIGINT and SIGTERM end the process soon.

    A signal raises KeyboardInterrupt, as usual. Compiling or running a network can delay that by many seconds, so after
    ``DEADLINE`` incomplete output files are removed and the process ends.

    Args:
        consequence: what is lost or kept, to be said if the process is ended; empty if only files are lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    threading.Thread(
        target=_end_at_deadline, args=(reader, consequence), daemon=True, name="wildhands deadline"
    ).start()
    terminate = signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Python's own handlers wait until the library returns; this descriptor is written to at once.
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, terminate)
        os.close(writer)


def _end_at_deadline(reader: int, consequence: str) -> None:
    while number := os.read(reader, 1):
        if number[0] in (signal.SIGINT, signal.SIGTERM):
            time.sleep(DEADLINE)
            # Nothing is written any more once the command has ended by itself.
            with suppress(BlockingIOError):
                os.set_blocking(reader, False)
                if os.read(reader, 1) == b"":
                    break
            removed = remove_partial_files()
            texts = [f"{', '.join(map(str, removed))} not written"] if removed else []
            texts += [consequence] if consequence else []
            warn(f"interrupted{': ' if texts else ''}{'; '.join(texts)}")
            end_now()
    os.close(reader)


def end_now() -> NoReturn:
    """Ends the process and its workers, without the interpreter's own cleaning up: with PyTorch it takes seconds."""
    # They would outlive this process by seconds if they are still starting.
    for child in multiprocessing.active_children():
        child.kill()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # The reader has gone.
            stream.flush()
    os._exit(EXIT_INTERRUPTED)
