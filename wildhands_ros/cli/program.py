"""The program ``wildhands``: it ends soon after Ctrl-C, and without a traceback even while it is being imported."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> int:
    """Imports the commands, which takes a moment, and runs the command line; returns the exit code."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else it is ignored, as in jobs that a shell runs in the background
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(_INTERRUPTED))
    from ..io.progress import starting

    with starting():
        from .exit_codes import EXIT_INTERRUPTED
        from .interrupts import end_now
        from .main import main as run

        signal.signal(signal.SIGINT, usual)
        code = run()
    if code == EXIT_INTERRUPTED:
        end_now()
    return code
