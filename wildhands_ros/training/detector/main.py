"""``wildhands train-detector``: one run from a configuration file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..config_file import read_config
from ..main import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from ..pool import cores
from ..trainer import TrainingError
from .config import DetectorTrainingConfig
from .trainer import EXPORT_NAME, DetectorTrainer


def run(config_path: Path, output: Path | None = None, overrides: Sequence[str] = ()) -> int:
    """Trains, or goes on with, the run in the folder ``output`` (default: ``training_output/`` and the configuration's name).

    ``overrides``: ``key=value`` in YAML. Returns the process's exit code. Raises ValueError, OSError and ImportError with what is wrong.
    """
    config = read_config(config_path, DetectorTrainingConfig, overrides)
    folder = output or Path("training_output") / config_path.stem
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() - config.workers))
    trainer = DetectorTrainer(config, folder)
    try:
        outcome = trainer.run()
    except TrainingError as error:
        print(f"wildhands train-detector: {error}", file=sys.stderr)
        return EXIT_FAILED
    if outcome.unsaved:
        print(f"wildhands train-detector: the last state is lost: {outcome.unsaved}", file=sys.stderr)
        return EXIT_FAILED
    if outcome.interrupted:
        print(f"Stopped after step {outcome.step} of {config.steps}; the same command goes on from there.", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"Trained {outcome.step} steps; weights: {folder / EXPORT_NAME}")
    return EXIT_OK
