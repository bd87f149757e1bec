"""``wildhands train``: one run from a configuration file, alone or as one of the processes that torchrun starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from .config import TrainingConfig
from .config_file import read_config
from .distributed import joined_processes
from .trainer import EXPORT_NAME, Trainer, TrainingError

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 2, 130


def run(config_path: Path, output: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Trains, or goes on with, the run in the folder ``output`` (default: ``training_output/`` and the configuration's name).

    ``overrides``: ``key=value`` in YAML, such as ``optimizer.lr=1e-4``. Returns the process's exit code. Raises ValueError and OSError with
    what is wrong with configuration, data or folder, ImportError with what is to be installed.
    """
    config = read_config(config_path, TrainingConfig, overrides)
    folder = output or Path("training_output") / config_path.stem
    with joined_processes(config.device) as processes:
        if processes.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            # Threads that outnumber the cores, workers counted, slow everything down by far more than they help.
            torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) - config.workers))
        trainer = Trainer(config, folder, processes)
        try:
            outcome = trainer.run()
        except TrainingError as error:
            print(f"wildhands train: {error}", file=sys.stderr)
            return EXIT_FAILED
        if not processes.is_first:
            return EXIT_OK
        if skipped := trainer.skipped_summary():
            print(f"Not used:\n{skipped}", file=sys.stderr)
        if outcome.unsaved:
            print(f"wildhands train: the last state is lost: {outcome.unsaved}", file=sys.stderr)
            return EXIT_FAILED
        if outcome.interrupted:
            print(f"Stopped after step {outcome.step} of {config.steps}; the same command goes on from there.", file=sys.stderr)
            return EXIT_INTERRUPTED
        print(f"Trained {outcome.step} steps; weights: {folder / EXPORT_NAME}")
        return EXIT_OK
