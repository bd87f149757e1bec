"""What all training runs share: one run per folder, stopping on a signal, resuming with the same command, reporting the
outcome."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from ..runtime.threads import available_cpus
from .config_file import ConfigError, differences, to_mapping

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 130


class TrainingError(RuntimeError):
    """Training cannot continue; the message says why."""


class Outcome(NamedTuple):
    """How a run ended."""

    step: int
    """The last completed step."""
    interrupted: bool
    unsaved: str
    """Why the last state could not be saved; empty if it was."""


def limit_threads(workers: int) -> None:
    """Leave one core to each of the ``workers`` that prepare examples, unless ``OMP_NUM_THREADS`` is set.

    More threads than cores slow everything down by far more than they help.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, available_cpus() - workers))


def config_text(config: Any) -> str:
    """Serialise a configuration as a run's saved state holds it."""
    return json.dumps(to_mapping(config))


def check_same_run(kept: str, config: Any, may_change: Sequence[str], weights: Path) -> None:
    """Check that a folder's run has the same configuration.

    Args:
        kept: ``config_text`` of the saved run.
        config: The current configuration.
        may_change: Top-level keys that may differ.
        weights: The run's exported weights, for the message.

    Raises:
        ConfigError: Other keys differ.
    """
    changed = [
        key
        for key in differences(json.loads(kept), json.loads(config_text(config)))
        if key.split(".")[0] not in may_change
    ]
    if changed:
        raise ConfigError(
            f"{weights.parent} holds a run with other values of {', '.join(changed)}; resume it with its own "
            "configuration, or use "
            f"another folder (with start: {weights} to initialise from its weights)"
        )


def report_outcome(outcome: Outcome, steps: int, weights: Path, command: str) -> int:
    """Print how a run ended; returns the process's exit code."""
    if outcome.unsaved:
        print(f"{command}: the last state could not be saved: {outcome.unsaved}", file=sys.stderr)
        return EXIT_FAILED
    if outcome.interrupted:
        print(f"Stopped after step {outcome.step} of {steps}; run the same command to resume.", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"Trained {outcome.step} steps; weights: {weights}")
    return EXIT_OK


def warn(text: str) -> None:
    """Print a warning to stderr."""
    print(f"wildhands train: {text}", file=sys.stderr)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list to which the first SIGINT or SIGTERM is appended; a second one has its usual effect."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        for other, handler in before.items():
            signal.signal(other, handler)

    for handled in (signal.SIGINT, signal.SIGTERM):
        before[handled] = signal.signal(handled, stop)
    try:
        yield received
    finally:
        for other, handler in before.items():
            signal.signal(other, handler)


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Lock a run's folder; the lock of a killed run is released by itself.

    Raises:
        OSError: Another run is active in the folder.
    """
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"another training run is active in {folder}") from error
        yield
