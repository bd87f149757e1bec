"""``wildhands train-detector``: one run from a configuration file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..config_file import read_config
from ..runs import EXIT_FAILED, TrainingError, last_word, limit_threads
from .config import DetectorTrainingConfig
from .trainer import EXPORT_NAME, DetectorTrainer


def run(config_path: Path, output: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Trains, or goes on with, the run in the folder ``output`` (default: ``training_output/`` and the configuration's name).

    ``overrides``: ``key=value`` in YAML. Returns the process's exit code. Raises ValueError, OSError and ImportError with what is wrong.
    """
    config = read_config(config_path, DetectorTrainingConfig, overrides)
    folder = output or Path("training_output") / config_path.stem
    limit_threads(config.workers)
    trainer = DetectorTrainer(config, folder)
    try:
        outcome = trainer.run()
    except TrainingError as error:
        print(f"wildhands train-detector: {error}", file=sys.stderr)
        return EXIT_FAILED
    return last_word(outcome, config.steps, folder / EXPORT_NAME, "wildhands train-detector")
