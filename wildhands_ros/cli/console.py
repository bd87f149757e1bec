"""What commands write to stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .exit_codes import EXIT_INCOMPLETE, EXIT_OK


def warn(message: str) -> None:
    """Prints one line that names the program."""
    print(f"wildhands: {message}", file=sys.stderr)


def report_problems(problems: Sequence[str]) -> int:
    """Prints what could not be read, one line each, and returns the exit code."""
    for problem in problems:
        warn(problem)
    return EXIT_INCOMPLETE if problems else EXIT_OK
