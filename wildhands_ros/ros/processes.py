"""Nodes in processes of their own, for the demo and the benchmark."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def child_process(command: list[str], **options) -> Iterator[subprocess.Popen]:
    """A child that ends with the block; in a session of its own, so that Ctrl-C reaches us alone and we end it in order."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
