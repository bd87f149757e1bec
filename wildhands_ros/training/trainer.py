"""The training loop: resumes where it was left, saves, logs, exports."""

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
from .batches import Batch, Batches, load_batches
from .checkpointing import Checkpoints
from .config import RESUMABLE_CHANGES, TrainingConfig
from .config_file import ConfigError
from .distributed import Processes
from .ema import WeightAverage
from .initialisation import first_network, hand_assets
from .objective import TELLING, Objective
from .optimization import Optimization
from .pool import Pool
from .prediction_grid import draw_predictions
from .progress import Means, Progress, summary
from .randomness import seed_torch
from .runs import Outcome, TrainingError, check_same_run, config_text, only_run_in, stop_signals, warn

EXPORT_NAME = "weights.safetensors"
_BAD_STEPS = 20
"""Steps in a row with gradients that are not finite before training gives up."""


class Trainer:
    """One run in one folder: ``checkpoints/``, ``log.jsonl``, ``tensorboard/`` and the exported weights.

    Raises ValueError (``ConfigError``) where the run cannot be as configured, or was begun with another configuration; OSError where
    the folder cannot be written.
    """

    def __init__(self, config: TrainingConfig, folder: Path, processes: Processes) -> None:
        self._config, self._folder, self._processes = config, folder, processes
        self._checkpoints = Checkpoints(folder / "checkpoints")
        assets = hand_assets(config)
        kind = Pool if config.pool else Batches
        self._batches = kind(config, assets, processes.rank, processes.count)
        self._model = first_network(config)
        self._objective = Objective(self._model, assets, config).to(processes.device)
        self._optimization = Optimization(self._model, config.optimizer, config.steps)
        self._average = WeightAverage(self._model, config.ema_decay)
        self._means = Means()
        self._skipped: Counter[str] = Counter()
        """Of all processes, until they last were merged."""
        self._new_skipped: Counter[str] = Counter()
        """Of this process, since then."""
        self._shown: set[str] = set()
        self._bad_steps = 0
        self._saved_at = time.monotonic()
        self._unsaved = ""
        self._step = self._resume()

    def run(self) -> Outcome:
        """Trains to the last step, or until interrupted (SIGINT, SIGTERM), and saves."""
        with ExitStack() as stack:
            stop = stack.enter_context(stop_signals())
            self._progress = None
            if self._processes.is_first:
                stack.enter_context(only_run_in(self._folder))
                self._checkpoints.clean_up()
                self._progress = Progress(self._folder, self._step, self._config.steps)
                stack.callback(self._progress.close)
                self._say_what_is_unusable()
            self._train(stop)
        return Outcome(self._step, self._step < self._config.steps, self._unsaved)

    def _train(self, stop: list[int]) -> None:
        config = self._config
        module: nn.Module = self._objective
        batches = (
            load_batches(self._batches, self._step + 1, config.steps, config.workers)
            if self._step < config.steps
            else []
        )
        for batch in batches:
            step = self._step + 1
            if self._optimization.prepare(step) or module is self._objective:
                module = self._shared()
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

    def _shared(self) -> nn.Module:
        """The objective, with gradients averaged over the processes; DDP looks only once at what is frozen."""
        if self._processes.count == 1:
            return self._objective
        devices = [self._processes.device] if self._processes.device.type == "cuda" else None
        # A head without labels in a batch has no gradients there.
        return DistributedDataParallel(self._objective, device_ids=devices, find_unused_parameters=True)

    def _account(self, losses: dict[str, Tensor], norm: Tensor, batch: Batch, stop: bool) -> tuple[bool, bool]:
        """Takes in what a step gave; returns whether to save and whether to stop, the same in all processes."""
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
                    f"the gradients of {_BAD_STEPS} steps in a row, up to step {self._step}, are not finite: lower optimizer.lr or "
                    "clip_norm, and begin again from the last saved state"
                )
        self._new_skipped += batch.skipped
        for reason, detail in batch.details.items():
            if reason not in self._shown and self._progress is not None:
                self._progress.say(f"not used: {reason}; the first: {detail}")
            self._shown.add(reason)
        return bool(sums[-2]), bool(sums[-1])

    def _term_names(self) -> list[str]:
        """Of all terms that there may be, ``loss`` first: a process may lack labels that another has."""
        held = ("landmarks", "world", "presence", "side")
        return ["loss", *vars(self._config.losses), *(f"distill_{name}" for name in held), TELLING]

    def _log(self, step: int, batch: Batch) -> None:
        options = self._config.log
        if step % options.every_steps == 0 or step == self._config.steps:
            self._merge_skipped()
            means = self._means.take()
            if self._progress is not None and "loss" in means:
                if means.get(TELLING) == 0:
                    self._progress.say(
                        "the fusion gives all hands the same, so the decoders see no image, and what has died does not come back: "
                        "begin again with a lower optimizer.lr or network.fusion: pooled"
                    )
                self._progress.write(step, {**means, "lr": self._optimization.learning_rate(step)}, self._skipped)
        if self._progress is not None:
            if options.images_every_steps and step % options.images_every_steps == 0 and batch.crops is not None:
                self._progress.image(step, "hands", draw_predictions(self._objective, batch))
            self._progress.advance()

    def _merge_skipped(self) -> None:
        self._skipped += self._processes.merge(self._new_skipped)
        self._new_skipped = Counter()

    def _say_what_is_unusable(self) -> None:
        for name in self._batches.missing:
            self._progress.say(f"Trained without {name}: there are none on this machine")
        unusable = Counter()
        for source in self._batches.sources:
            unusable.update(source.skipped)
        if unusable:
            self._progress.say(f"Not usable in the data sets:\n{summary(unusable)}")

    def skipped_summary(self) -> str:
        """What could not be used so far, a line for each reason; of the first process only."""
        return summary(self._skipped)

    # ------------------------------------------------------------------------------------------------------------ state

    def _is_due(self) -> bool:
        options = self._config.checkpoints
        return self._step % options.every_steps == 0 or time.monotonic() - self._saved_at >= options.every_seconds

    def _save(self) -> None:
        """Saves and exports; where that fails, says so and leaves training to go on to the next time."""
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
            self._progress.say(f"{error}; training goes on from memory, the state saved before is still there")

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
        """Takes the last saved state, if there is one; returns its step."""
        found = self._checkpoints.load_last(warn if self._processes.is_first else lambda _: None)
        step = found[0] if found else 0
        if self._processes.same_for_all(step) != step:
            raise ConfigError(
                f"the processes see different states in {self._folder}: it must be the same folder for all machines"
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
        """Writes the averaged weights as a checkpoint for estimating; returns where. Raises OSError."""
        model = empty_model(self._config.network)
        model.load_state_dict({name: tensor.cpu() for name, tensor in self._average.weights.items()}, assign=True)
        path = self._folder / EXPORT_NAME
        save_checkpoint(path, model.half() if self._config.checkpoints.half else model)
        return path
