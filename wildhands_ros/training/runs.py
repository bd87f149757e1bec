"""What every training run is: alone in its folder, stopped by a signal, resumed by the same command, with a last word."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..runtime.threads import available_cpus
from .config_file import ConfigError, differences, to_mapping

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 130


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why."""


class Outcome(NamedTuple):
    step: int
    """The last one done."""
    interrupted: bool
    unsaved: str
    """Why the last state could not be saved; empty where it was."""


def limit_threads(workers: int) -> None:
    """Leaves each of the ``workers`` that prepare pictures a core, unless the user has chosen: threads that outnumber the cores slow
    everything down by far more than they help."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, available_cpus() - workers))


def config_text(config: Any) -> str:
    """A configuration as a run's state keeps it."""
    return json.dumps(to_mapping(config))


def check_same_run(kept: str, config: Any, may_change: Sequence[str], weights: Path) -> None:
    """Raises ConfigError where the run that wrote ``weights`` has another configuration (``config_text``), but for keys that may change."""
    changed = [
        key
        for key in differences(json.loads(kept), json.loads(config_text(config)))
        if key.split(".")[0] not in may_change
    ]
    if changed:
        raise ConfigError(
            f"{weights.parent} holds a run with other values of {', '.join(changed)}; go on with its own configuration, or begin in "
            f"another folder (with start: {weights} from its weights)"
        )


def last_word(outcome: Outcome, steps: int, weights: Path, command: str) -> int:
    """Says how a run ended; returns the process's exit code."""
    if outcome.unsaved:
        print(f"{command}: the last state is lost: {outcome.unsaved}", file=sys.stderr)
        return EXIT_FAILED
    if outcome.interrupted:
        print(f"Stopped after step {outcome.step} of {steps}; the same command goes on from there.", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"Trained {outcome.step} steps; weights: {weights}")
    return EXIT_OK


def warn(text: str) -> None:
    print(f"wildhands train: {text}", file=sys.stderr)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the first SIGINT or SIGTERM is put into; a second one acts as ever."""
    received: list[int] = []
    before = {}

    def stop(number: int, _) -> None:
        received.append(number)
        for other, handler in before.items():
            signal.signal(other, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Raises OSError where another run is at work in the folder; a killed one leaves nothing behind that would be in the way."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"another training run is at work in {folder}") from error
        yield
