"""The training loop of the hand detector: it resumes, saves, logs and exports."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ...network.detector_net import HandDetectorNet, load_detector
from ...network.network_file import DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR
from ...network.palm_net import PalmNet, PalmOutput
from ...runtime.onnx import save_detector
from ...synthetic.disturbances import Disturbances
from ..checkpointing import Checkpoints
from ..ema import WeightAverage
from ..progress import Means, Progress
from ..randomness import seed_torch
from ..runs import Outcome, TrainingError, check_same_run, config_text, only_run_in, stop_signals, warn
from .config import RESUMABLE_CHANGES, START_DEFAULT, START_MEDIAPIPE, START_SECOND_STAGE, DetectorTrainingConfig
from .objective import DetectorBatch, collate, detector_losses
from .pool import FramePool
from .real_images import RealImages

EXPORT_NAME = "detector.onnx"


class DetectorTrainer:
    """A training run in a folder, which holds ``checkpoints/``, ``log.jsonl``, ``tensorboard/`` and the exported
    weights.

    It runs in one process, on the CPU.
    """

    def __init__(self, config: DetectorTrainingConfig, folder: Path) -> None:
        """Prepare a run, or resume the one in the folder.

        Raises:
            ValueError: The run cannot be configured like this, or (``ConfigError``) was started with another
                configuration.
            OSError: The folder cannot be written.
            ImportError: mediapipe, whose network is the teacher of the palm heads, is not installed.
        """
        self._config, self._folder = config, folder
        self._checkpoints = Checkpoints(folder / "checkpoints")
        disturb = Disturbances(config.worn_share, config.moving_share, config.cut_share)
        real = None
        if config.real_images:
            labels = Path(config.self_labels) if config.self_labels else None
            real = RealImages(Path(config.real_images), config.images, disturb, labels)
        self._pool = FramePool(
            config.images,
            config.world,
            config.seed,
            config.pool,
            config.batch_size,
            real,
            config.real_share,
            disturb,
        )
        seed_torch(config.seed)  # for the random initial weights of the hand head
        self._net = _initial_network(config.start)
        self._net.to(memory_format=torch.channels_last)
        self._teacher = None
        if config.losses.palms > 0:
            self._teacher = PalmNet.from_mediapipe().to(memory_format=torch.channels_last)
        self._front = _front(self._net, config.batch_size, *self._pool.size)
        self._cache: dict[int, _Features] = {}
        trunk: list[nn.Module] = [self._net.trunk.fine]
        if not config.cached_batches:
            trunk += [self._net.trunk.stages[3:], self._net.trunk.coarse, self._net.palm_head]
        self._trunk = [parameter for part in trunk for parameter in part.parameters()]
        self._net.requires_grad_(False)
        self._adam = torch.optim.AdamW(
            [{"params": list(self._net.hand_head.parameters())}, {"params": self._trunk}],
            lr=config.lr,
            weight_decay=config.weight_decay,
        )
        self._average = WeightAverage(self._net, config.ema_decay)
        self._means = Means()
        self._saved_at = time.monotonic()
        self._unsaved = ""
        self._step = self._resume()

    def run(self) -> Outcome:
        """Train to the last step, or until interrupted by SIGINT or SIGTERM, and save."""
        config = self._config
        with ExitStack() as stack:
            stop = stack.enter_context(stop_signals())
            stack.enter_context(only_run_in(self._folder))
            self._checkpoints.clean_up()
            progress = Progress(self._folder, self._step, config.steps)
            stack.callback(progress.close)
            for features in self._batches():
                step = self._step + 1
                seed_torch(config.seed, step)
                losses, norm = self._train(step, features)
                if not (math.isfinite(norm) and math.isfinite(losses["loss"])):
                    raise TrainingError(
                        f"the gradients of step {step} are not finite: lower lr and resume from the last saved state"
                    )
                self._average.update(self._net, step)
                self._step = step
                for name, value in losses.items():
                    self._means.add(name, value, 1)
                if step % config.log.every_steps == 0 or step == config.steps:
                    progress.write(step, {**self._means.take(), "lr": self._rate(step)}, Counter())
                progress.advance()
                due = (
                    step % config.checkpoints.every_steps == 0
                    or time.monotonic() - self._saved_at >= config.checkpoints.every_seconds
                )
                if due or stop or step == config.steps:
                    self._save(progress)
                if stop:
                    break
        return Outcome(self._step, self._step < config.steps, self._unsaved)

    def _batches(self) -> Iterator[_Features]:
        if self._step >= self._config.steps:
            return
        if cached := self._config.cached_batches:
            for step in range(self._step, self._config.steps):
                number = 1 + step % cached
                if number not in self._cache:
                    features = self._features(collate(self._pool[number]))
                    self._cache[number] = replace(features.map(Tensor.half), batch=features.batch.without_images())
                yield self._cache[number].map(Tensor.float)
            return
        loader = DataLoader(
            _Steps(self._pool),
            batch_size=None,
            sampler=range(self._step + 1, self._config.steps + 1),
            num_workers=self._config.workers,
            prefetch_factor=2 if self._config.workers else None,
            # Never forked: OpenVINO's threads run in this process.
            multiprocessing_context="spawn" if self._config.workers else None,
        )
        yield from map(self._features, loader)

    @torch.no_grad()
    def _features(self, batch: DetectorBatch) -> _Features:
        front = self._front(batch.images).contiguous(memory_format=torch.channels_last)
        return _Features(batch, front, self._net.trunk.coarse_features(front) if self._config.cached_batches else None)

    def _train(self, step: int, features: _Features) -> tuple[dict[str, float], float]:
        trains_trunk = step > self._config.trunk_frozen_until and self._config.trunk_factor > 0
        for parameter in self._trunk:
            parameter.requires_grad_(trains_trunk)
            if not trains_trunk:
                parameter.grad = None
        self._net.hand_head.requires_grad_(True)
        for group, factor in zip(
            self._adam.param_groups, (1.0, self._config.trunk_factor if trains_trunk else 0.0), strict=True
        ):
            group["lr"] = factor * self._rate(step)
        net, front, taught = self._net, features.front, None
        if self._teacher is not None:
            with torch.no_grad():
                fine, coarse = self._teacher.trunk.back(front)
                taught = self._teacher.head(fine, coarse)
        palms: PalmOutput | None = None
        if features.coarse is not None:
            maps = net.hand_head(front, net.trunk.fine(features.coarse, front), features.coarse)
        elif taught is None or trains_trunk or self._config.start != START_MEDIAPIPE:
            palms, maps = net.back(front)
        else:
            # The trunk is still identical to the teacher's.
            palms, maps = taught, net.hand_head(front, fine, coarse)
        losses = detector_losses(palms, maps, taught, features.batch, self._config.losses)
        losses["loss"].backward()
        trained = [p for group in self._adam.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, self._config.clip_norm)
        if norm.isfinite():
            self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        return {name: float(value.detach()) for name, value in losses.items()}, float(norm)

    def _rate(self, step: int) -> float:
        config = self._config
        warmup = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
        cosine = (1 + math.cos(math.pi * min(step / config.steps, 1.0))) / 2
        return config.lr * warmup * (config.final_share + (1 - config.final_share) * cosine)

    # ---- saved state

    def _save(self, progress: Progress) -> None:
        self._saved_at = time.monotonic()
        try:
            self._checkpoints.save(self._step, self._state())
            self.export()
            self._unsaved = ""
        except OSError as error:
            self._unsaved = str(error)
            progress.say(f"{error}; training continues, and the previously saved state is kept")

    def _state(self) -> dict[str, Any]:
        return {
            "config": config_text(self._config),
            "model": self._net.state_dict(),
            "average": self._average.weights,
            "adam": self._adam.state_dict(),
            "means": self._means.state(),
        }

    def _resume(self) -> int:
        """Load the last saved state, if there is one; returns its step."""
        found = self._checkpoints.load_last(warn)
        if found is None:
            return 0
        step, state = found
        check_same_run(state["config"], self._config, RESUMABLE_CHANGES, self._folder / EXPORT_NAME)
        self._net.load_state_dict(state["model"])
        self._average.load(state["average"])
        self._adam.load_state_dict(state["adam"])
        self._means = Means(state["means"])
        return step

    def export(self) -> Path:
        """Write the averaged weights and return their path.

        Raises:
            OSError: They cannot be written.
        """
        net = HandDetectorNet()
        net.load_state_dict(self._average.weights)
        path = self._folder / EXPORT_NAME
        save_detector(net, path)
        return path


@dataclass(frozen=True)
class _Features:
    """A batch and what the parts of the trunk that never change make of it."""

    batch: DetectorBatch
    front: Tensor
    """See ``PalmTrunk.front``."""
    coarse: Tensor | None
    """See ``PalmTrunk.coarse_features``; None if those are trained."""

    def map(self, convert: Callable[[Tensor], Tensor]) -> _Features:
        return replace(self, front=convert(self.front), coarse=None if self.coarse is None else convert(self.coarse))


class _Steps(Dataset):
    def __init__(self, pool: FramePool) -> None:
        self._pool = pool

    def __getitem__(self, step: int) -> DetectorBatch:
        return collate(self._pool[step])


def _initial_network(start: str) -> HandDetectorNet:
    if start == START_MEDIAPIPE:
        return HandDetectorNet.from_mediapipe()
    bundled = {START_DEFAULT: DEFAULT_DETECTOR, START_SECOND_STAGE: SECOND_STAGE_DETECTOR}
    return load_detector(bundled.get(start, Path(start)))


def _front(net: HandDetectorNet, batch_size: int, width: int, height: int) -> Callable[[Tensor], Tensor]:
    """The trunk's first stages, which never change; with OpenVINO, if it is installed, they are several times as
    fast."""
    try:
        from ...runtime.openvino_torch import OpenVinoStages
    except ImportError:
        return net.trunk.front
    return OpenVinoStages(net.trunk.front, (batch_size, 3, height, width))
