"""``wildhands train-detector``: one training run from a configuration file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..config_file import read_config
from ..runs import EXIT_FAILED, TrainingError, limit_threads, report_outcome
from .config import DetectorTrainingConfig
from .trainer import EXPORT_NAME, DetectorTrainer


def run(config_path: Path, output: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Start or resume a training run.

    Args:
        config_path: The YAML file.
        output: The run's folder; by default ``training_output/`` and the configuration's name.
        overrides: ``key=value`` in YAML.

    Returns:
        The process's exit code.

    Raises:
        ValueError, OSError, ImportError: The message says what is wrong.
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
    return report_outcome(outcome, config.steps, folder / EXPORT_NAME, "wildhands train-detector")
