"""The program ``wildhands``. It ends without a traceback even if Ctrl-C arrives while it is still being imported."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> int:
    """Imports the commands, which takes a moment, and runs the command line; returns the exit code."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else it is ignored, as in jobs that a shell runs in the background
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))
    from .main import main as run

    signal.signal(signal.SIGINT, usual)
    return run()
