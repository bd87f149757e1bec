"""The training loop of the 3D network: it resumes, saves, logs and exports."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..network.checkpoint import empty_model, save_checkpoint
from .batches import Batch, Batches, BatchSource, load_batches
from .checkpointing import Checkpoints
from .config import RESUMABLE_CHANGES, TrainingConfig
from .config_file import ConfigError
from .distributed import Processes
from .ema import WeightAverage
from .initialisation import hand_assets, initial_network
from .objective import FUSION_UNITS, Objective
from .optimization import Optimization
from .pool import Pool
from .prediction_grid import draw_predictions
from .progress import Means, Progress, summary
from .randomness import seed_torch
from .runs import Outcome, TrainingError, check_same_run, config_text, only_run_in, stop_signals, warn

EXPORT_NAME = "weights.safetensors"
_BAD_STEPS = 20
"""Consecutive steps with non-finite gradients after which training gives up."""


class Trainer:
    """A training run in a folder, which holds ``checkpoints/``, ``log.jsonl``, ``tensorboard/`` and the exported
    weights."""

    def __init__(self, config: TrainingConfig, folder: Path, processes: Processes) -> None:
        """Prepare a run, or resume the one in the folder.

        Args:
            config: What to train.
            folder: The run's folder.
            processes: The processes that train together.

        Raises:
            ValueError: The run cannot be configured like this, or (``ConfigError``) was started with another
                configuration.
            OSError: The folder cannot be written.
        """
        self._config, self._folder, self._processes = config, folder, processes
        self._checkpoints = Checkpoints(folder / "checkpoints")
        assets = hand_assets(config)
        source_type: type[Pool] | type[Batches] = Pool if config.pool else Batches
        self._batches: BatchSource = source_type(config, assets, processes.rank, processes.count)
        self._model = initial_network(config)
        self._objective = Objective(self._model, assets, config).to(processes.device)
        self._optimization = Optimization(self._model, config.optimizer, config.steps)
        self._average = WeightAverage(self._model, config.ema_decay)
        self._means = Means()
        self._skipped: Counter[str] = Counter()
        """Counts of all processes as of the last merge."""
        self._new_skipped: Counter[str] = Counter()
        """Counts of this process since then."""
        self._shown: set[str] = set()
        self._progress: Progress | None = None
        """Set in the first process while it trains."""
        self._bad_steps = 0
        self._saved_at = time.monotonic()
        self._unsaved = ""
        self._step = self._resume()

    def run(self) -> Outcome:
        """Train to the last step, or until interrupted by SIGINT or SIGTERM, and save."""
        with ExitStack() as stack:
            stop = stack.enter_context(stop_signals())
            if self._processes.is_first:
                stack.enter_context(only_run_in(self._folder))
                self._checkpoints.clean_up()
                self._progress = Progress(self._folder, self._step, self._config.steps)
                stack.callback(self._progress.close)
                self._report_unusable(self._progress)
            self._train(stop)
        return Outcome(self._step, self._step < self._config.steps, self._unsaved)

    def _train(self, stop: list[int]) -> None:
        config = self._config
        module: nn.Module = self._objective
        if self._step >= config.steps:
            return
        for batch in load_batches(self._batches, self._step + 1, config.steps, config.workers):
            step = self._step + 1
            if self._optimization.prepare(step) or module is self._objective:
                module = self._synchronised()
            batch = batch.to(self._processes.device)
            seed_torch(config.seed, step, self._processes.rank)
            losses = module(batch)
            losses["loss"].backward()
            norm = self._optimization.update()
            self._average.update(self._model, step)
            self._step = step
            wants_save, wants_stop = self._account(losses, norm, batch, bool(stop))
            self._log(step, batch)
            if wants_save or wants_stop or step == config.steps:
                self._save()
            if wants_stop:
                break

    def _synchronised(self) -> nn.Module:
        """The objective with gradients averaged over the processes; rebuilt after every change of what is frozen, which
        DDP reads only once."""
        if self._processes.count == 1:
            return self._objective
        devices = [self._processes.device] if self._processes.device.type == "cuda" else None
        # A head without labels in a batch gets no gradients.
        return DistributedDataParallel(self._objective, device_ids=devices, find_unused_parameters=True)

    def _account(self, losses: dict[str, Tensor], norm: Tensor, batch: Batch, stop: bool) -> tuple[bool, bool]:
        """Record a step's results; returns whether to save and whether to stop, the same in all processes."""
        names = self._term_names()
        values = {name: float(value.detach()) for name, value in losses.items()}
        save = self._processes.is_first and self._is_due()
        numbers = (
            [values.get(name, 0.0) for name in names]
            + [float(name in values) for name in names]
            + [float(save), float(stop)]
        )
        sums = self._processes.sum(torch.tensor(numbers, dtype=torch.float64)).tolist()
        if math.isfinite(float(norm)) and math.isfinite(sums[0]):
            self._bad_steps = 0
            for name, total, count in zip(names, sums, sums[len(names) :], strict=False):
                if count:
                    self._means.add(name, total, count)
            self._means.add("grad_norm", float(norm), 1)
        else:
            self._bad_steps += 1
            if self._processes.is_first:
                self._new_skipped["step with gradients that are not finite"] += 1
            if self._bad_steps >= _BAD_STEPS:
                raise TrainingError(
                    f"the gradients of {_BAD_STEPS} consecutive steps, up to step {self._step}, are not finite: lower "
                    "optimizer.lr or "
                    "clip_norm and start again from the last saved state"
                )
        self._new_skipped += batch.skipped
        for reason, detail in batch.details.items():
            if reason not in self._shown and self._progress is not None:
                self._progress.say(f"not used: {reason}; the first: {detail}")
            self._shown.add(reason)
        return bool(sums[-2]), bool(sums[-1])

    def _term_names(self) -> list[str]:
        """Names of all possible terms, ``loss`` first: a process may lack labels that another one has."""
        distilled = ("landmarks", "world", "presence", "side")
        return ["loss", *vars(self._config.losses), *(f"distill_{name}" for name in distilled), FUSION_UNITS]

    def _log(self, step: int, batch: Batch) -> None:
        options = self._config.log
        if step % options.every_steps == 0 or step == self._config.steps:
            self._merge_skipped()
            means = self._means.take()
            if self._progress is not None and "loss" in means:
                if means.get(FUSION_UNITS) == 0:
                    self._progress.say(
                        "the fusion's output is the same for all hands, so the decoders see no image. It does not "
                        "recover from this: start again with a lower optimizer.lr or network.fusion: pooled"
                    )
                self._progress.write(step, {**means, "lr": self._optimization.learning_rate(step)}, self._skipped)
        if self._progress is not None:
            if options.images_every_steps and step % options.images_every_steps == 0 and batch.crops is not None:
                self._progress.image(step, "hands", draw_predictions(self._objective, batch))
            self._progress.advance()

    def _merge_skipped(self) -> None:
        self._skipped += self._processes.merge(self._new_skipped)
        self._new_skipped = Counter()

    def _report_unusable(self, progress: Progress) -> None:
        for name in self._batches.missing:
            progress.say(f"Training without {name}: this machine has none")
        unusable: Counter[str] = Counter()
        for source in self._batches.sources:
            unusable.update(source.skipped)
        if unusable:
            progress.say(f"Not usable in the datasets:\n{summary(unusable)}")

    def skipped_summary(self) -> str:
        """Summarise what could not be used so far, one line per reason; known to the first process only."""
        return summary(self._skipped)

    # ---- saved state

    def _is_due(self) -> bool:
        options = self._config.checkpoints
        return self._step % options.every_steps == 0 or time.monotonic() - self._saved_at >= options.every_seconds

    def _save(self) -> None:
        """Save and export; if that fails, report it and let training continue until the next attempt."""
        self._merge_skipped()
        self._saved_at = time.monotonic()
        if not self._processes.is_first:
            return
        try:
            self._checkpoints.save(self._step, self._state())
            self.export()
            self._unsaved = ""
        except OSError as error:
            self._unsaved = str(error)
            if self._progress is not None:
                self._progress.say(f"{error}; training continues, and the previously saved state is kept")

    def _state(self) -> dict[str, Any]:
        return {
            "config": config_text(self._config),
            "model": self._model.state_dict(),
            "average": self._average.weights,
            "adam": self._optimization.adam.state_dict(),
            "means": self._means.state(),
            "skipped": dict(self._skipped),
        }

    def _resume(self) -> int:
        """Load the last saved state, if there is one; returns its step."""
        found = self._checkpoints.load_last(warn if self._processes.is_first else lambda _: None)
        step = found[0] if found else 0
        if self._processes.same_for_all(step) != step:
            raise ConfigError(
                f"the processes see different states in {self._folder}: it must be one folder shared by all machines"
            )
        if found is None:
            return 0
        state = found[1]
        check_same_run(state["config"], self._config, RESUMABLE_CHANGES, self._folder / EXPORT_NAME)
        self._model.load_state_dict(state["model"])
        self._average.load(state["average"])
        self._optimization.adam.load_state_dict(state["adam"])
        self._means = Means(state["means"])
        self._skipped = Counter(state["skipped"])
        return step

    def export(self) -> Path:
        """Write the averaged weights as a checkpoint for the estimator and return its path.

        Raises:
            OSError: It cannot be written.
        """
        model = empty_model(self._config.network)
        model.load_state_dict({name: tensor.cpu() for name, tensor in self._average.weights.items()}, assign=True)
        path = self._folder / EXPORT_NAME
        save_checkpoint(path, model.half() if self._config.checkpoints.half else model)
        return path
