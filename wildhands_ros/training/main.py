"""``wildhands train``: one run from a configuration file, alone or as one of the processes that torchrun starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .config import TrainingConfig
from .config_file import read_config
from .distributed import joined_processes
from .runs import EXIT_FAILED, EXIT_OK, TrainingError, last_word, limit_threads
from .trainer import EXPORT_NAME, Trainer


def run(config_path: Path, output: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Trains, or goes on with, the run in the folder ``output`` (default: ``training_output/`` and the configuration's name).

    ``overrides``: ``key=value`` in YAML, such as ``optimizer.lr=1e-4``. Returns the process's exit code. Raises ValueError and OSError with
    what is wrong with configuration, data or folder, ImportError with what is to be installed.
    """
    config = read_config(config_path, TrainingConfig, overrides)
    folder = output or Path("training_output") / config_path.stem
    with joined_processes(config.device) as processes:
        if processes.device.type == "cpu":
            limit_threads(config.workers)
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
        return last_word(outcome, config.steps, folder / EXPORT_NAME, "wildhands train")
