"""``wildhands train``: one training run from a configuration file, in one process or in several started by torchrun."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .config import TrainingConfig
from .config_file import read_config
from .distributed import joined_processes
from .runs import EXIT_FAILED, EXIT_OK, TrainingError, limit_threads, report_outcome
from .trainer import EXPORT_NAME, Trainer


def run(config_path: Path, output: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Start or resume a training run.

    Args:
        config_path: The YAML file.
        output: The run's folder; by default ``training_output/`` and the configuration's name.
        overrides: ``key=value`` in YAML, such as ``optimizer.lr=1e-4``.

    Returns:
        The process's exit code.

    Raises:
        ValueError, OSError: The configuration, the data or the folder cannot be used; the message says why.
        ImportError: A package is missing; the message says which.
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
        return report_outcome(outcome, config.steps, folder / EXPORT_NAME, "wildhands train")
