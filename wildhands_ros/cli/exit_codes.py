"""Exit codes of the ``wildhands`` command."""

from __future__ import annotations

from collections.abc import Sequence

from ..io.progress import warn

NO_FIGURES = "no figures were written"
"""What becomes of the output of a command that measures something and is interrupted."""
EXIT_OK, EXIT_INCOMPLETE, EXIT_USER_ERROR, EXIT_INTERRUPTED = 0, 1, 2, 130


def report_problems(problems: Sequence[str]) -> int:
    """Prints what could not be read, one line each, and returns the exit code."""
    for problem in problems:
        warn(problem)
    return EXIT_INCOMPLETE if problems else EXIT_OK
