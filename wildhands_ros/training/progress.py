"""Reports a run's progress: loss log, TensorBoard, progress bar, counts of what could not be used."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm


class Means:
    """Averages by name since the last ``take``; a step without a name does not count towards that name's average."""

    def __init__(self, state: Mapping[str, list[float]] | None = None) -> None:
        self._sums = {name: tuple(pair) for name, pair in (state or {}).items()}

    def add(self, name: str, total: float, count: float) -> None:
        old_total, old_count = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (old_total + total, old_count + count)

    def take(self) -> dict[str, float]:
        means = {name: total / count for name, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state(self) -> dict[str, list[float]]:
        return {name: list(pair) for name, pair in self._sums.items()}


class LossLog:
    """``log.jsonl``: one JSON object per line, with its step. Steps that a run repeats after it was killed appear
    once."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the log and drop what was written after ``step``.

        Raises:
            OSError: The file cannot be written.
        """
        self._path = path
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("".join(kept))
        os.replace(partial, path)
        self._file = path.open("a")

    def write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _whole_lines(path: Path) -> list[str]:
    """Lines up to the first incomplete one, which the last line may be after a kill."""
    lines = []
    for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
        try:
            json.loads(line)
        except ValueError:
            break
        if not line.endswith("\n"):
            break
        lines.append(line)
    return lines


class Progress:
    """Progress output of a run's first process."""

    def __init__(self, folder: Path, step: int, steps: int) -> None:
        """
        Args:
            folder: The run's folder.
            step: The step to resume from.
            steps: Length of the run.

        Raises:
            ImportError: TensorBoard is not installed.
            OSError: The folder cannot be written.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("training needs TensorBoard: pip install 'wildhands_ros[train]'") from error
        self._log = LossLog(folder / "log.jsonl", step)
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm(total=steps, initial=step, unit="step", dynamic_ncols=True, file=sys.stderr)

    def advance(self) -> None:
        self._bar.update()

    def write(self, step: int, means: dict[str, float], skipped: Counter[str]) -> None:
        """Log averages by name, and the total count of what was skipped so far."""
        self._log.write({"step": step, **means, "skipped": skipped.total()})
        for name, value in means.items():
            self._writer.add_scalar(name if name in ("loss", "lr", "grad_norm") else f"terms/{name}", value, step)
        self._writer.add_scalar("skipped", skipped.total(), step)
        self._bar.set_postfix(loss=f"{means['loss']:.4f}", skipped=skipped.total())

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Log an (H, W, 3) uint8 image."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()
        self._writer.close()
        self._log.close()


def summary(skipped: Mapping[str, int]) -> str:
    """Summarise what could not be used, one line per reason; empty if everything could be used."""
    return "\n".join(f"  {count} x {reason}" for reason, count in Counter(skipped).most_common())
