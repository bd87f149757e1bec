"""Batches of training examples, each of which depends only on (seed, step, position in the batch).

The order therefore does not depend on the number of processes that train or prepare examples, and training can resume
from any step.
"""

from __future__ import annotations

import dataclasses
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets.usable_labels import Skipped
from ..hand_model.asset import HandAsset
from ..network.trunk_kinds import TrunkKind
from ..types import Side
from .config import TrainingConfig
from .examples import ExampleMaker, HandExample, ImageExample
from .randomness import generator
from .sources import Source, open_source
from .targets import Targets

_ATTEMPTS = 50
"""Consecutive draws without a usable hand after which training gives up."""


@dataclass(frozen=True)
class Batch:
    """B hands in N images."""

    crops: Tensor | None
    """(B, 224, 224, 3) uint8; None if there are ``features``."""
    images: Tensor | None
    """(N, 224, 224, 3) uint8, if the network sees whole images."""
    kpe: Tensor
    """See ``WildHands.forward``."""
    is_real: Tensor
    """(B,) bool, see ``ImageExample.is_real``."""
    targets: Targets
    skipped: Counter[str]
    """Counts of what could not be used while drawing these examples, by reason."""
    details: dict[str, str]
    """The first case of each reason."""
    features: Tensor | None = None
    """(B, C, h, w) half precision: outputs of the trunk's first stages for the crops, see ``training.pool``."""
    taught: Tensor | None = None
    """(B, 128) the teacher's output for the crops, see ``distillation.packed``."""

    def to(self, device: torch.device) -> Batch:
        """Copy all tensors to a device."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        moved: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor | Targets)}
        return dataclasses.replace(self, **moved)


def normalized(colours: Tensor, kind: TrunkKind) -> Tensor:
    """Normalise (B, 224, 224, 3) uint8 images to (B, 3, 224, 224) as a trunk expects them."""
    mean, std = (torch.tensor(values, device=colours.device) for values in (kind.mean, kind.std))
    return ((colours.float() / 255 - mean) / std).permute(0, 3, 1, 2)


class Batches(Dataset):
    """One process's part of each step's batch: ``batches[step]``, from step 1 on.

    Indexing raises ValueError if no usable example can be found.
    """

    def __init__(
        self, config: TrainingConfig, assets: dict[Side, HandAsset], rank: int = 0, processes: int = 1
    ) -> None:
        """
        Args:
            config: The training run.
            assets: The hand model that is trained.
            rank: This process's rank.
            processes: Number of processes that train together.

        Raises:
            ValueError: The batch cannot be divided among the processes, or a source cannot be opened.
        """
        if config.batch_size % processes:
            raise ValueError(f"batch_size {config.batch_size} cannot be divided evenly among {processes} processes")
        self._seed = config.seed
        share = config.batch_size // processes
        self.places = range(rank * share, (rank + 1) * share)
        """Positions within each batch that this process fills."""
        opened = [(open_source(source, config.network, assets, config.seed), source) for source in config.sources]
        self.missing = [f"{source.name} ({source.root})" for found, source in opened if found is None]
        """Sources that this machine does not have and training does without."""
        self.available = [source for found, source in opened if found is not None]
        self.sources: list[Source] = [found for found, _ in opened if found is not None]
        weights = np.array([source.weight for source in self.available])
        if not self.sources:
            raise ValueError(f"there is nothing to train with: this machine has no {', '.join(self.missing)}")
        self.shares = weights / weights.sum()
        """Each source's share of the images."""
        self._maker = ExampleMaker(config.network, config.augmentation, assets)

    def __getitem__(self, step: int) -> Batch:
        examples: list[ImageExample] = []
        skipped: Counter[str] = Counter()
        details: dict[str, str] = {}
        for place in self.places:
            example, reasons = self._draw(step, place)
            examples.append(example)
            for reason, detail in reasons:
                skipped[reason] += 1
                details.setdefault(reason, detail)
        return collate(examples, skipped, details)

    def _draw(self, step: int, place: int) -> tuple[ImageExample, list[Skipped]]:
        skipped: list[Skipped] = []
        for attempt in range(_ATTEMPTS):
            rng = generator(self._seed, step, place, attempt)
            source = self.sources[int(rng.choice(len(self.sources), p=self.shares))]
            example, reasons = source.draw(rng, self._maker)
            skipped += reasons
            if example is not None:
                return example, skipped
        reason, detail = skipped[-1]
        raise ValueError(f"{_ATTEMPTS} images in a row had no usable hand; the last: {reason} ({detail})")


class BatchSource(Protocol):
    """What training draws its batches from."""

    missing: list[str]
    sources: list[Source]

    def __getitem__(self, step: int) -> Batch: ...


def load_batches(batches: BatchSource, first: int, last: int, workers: int) -> Iterator[Batch]:
    """Load the batches of steps ``first`` to ``last`` in order, with ``workers`` processes; 0 loads them in this
    process.

    Raises:
        ValueError, OSError: As ``batches[step]`` raises them.
    """
    loader = DataLoader(
        _Guarded(batches),
        batch_size=None,
        sampler=range(first, last + 1),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        # Never forked: threads of OpenVINO, DDS or MediaPipe that may run in this process make a fork of it unsafe.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_start_worker if workers else None,
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Guarded(Dataset):
    """Returns errors as values: a worker process would wrap them in its traceback."""

    def __init__(self, batches: BatchSource) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> Batch | Exception:
        try:
            return self._batches[step]
        except (ValueError, OSError) as error:
            return error


def _start_worker(_: int) -> None:
    # More threads than processes only compete for the cores.
    cv2.setNumThreads(0)
    # Ctrl-C reaches all processes of a terminal; the trainer finishes its step and then stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def collate(examples: list[ImageExample], skipped: Counter[str], details: dict[str, str]) -> Batch:
    """Join images that have at least one hand each into a batch."""
    hands = [hand for example in examples for hand in example.hands]
    index = [i for i, example in enumerate(examples) for _ in example.hands]
    is_real = [example.is_real for example in examples for _ in example.hands]
    images = [example.image for example in examples if example.image is not None]
    labels: dict[str, Tensor] = {}
    for name, flag, shape, kind in _LABELS:
        labels |= _label(hands, name, flag, shape, kind)
    targets = Targets(
        is_right=torch.tensor([hand.is_right for hand in hands]),
        image_index=torch.tensor(index),
        num_images=len(examples),
        focal=torch.tensor([hand.focal for hand in hands], dtype=torch.float32),
        anchor=_floats([hand.anchor for hand in hands]),
        turn=torch.tensor([hand.turn for hand in hands], dtype=torch.float32),
        k=_floats([hand.k for hand in hands]),
        names=tuple(hand.name for hand in hands),
        **labels,
    )
    return Batch(
        crops=torch.from_numpy(np.stack([hand.crop for hand in hands])),
        images=torch.from_numpy(np.stack(images)) if images else None,
        kpe=_floats([hand.kpe for hand in hands]),
        is_real=torch.tensor(is_real),
        targets=targets,
        skipped=skipped,
        details=details,
    )


_LABELS = (
    ("joints_2d", "has_j2d", (21, 2), np.float32),
    ("joints_3d", "has_j3d", (21, 3), np.float32),
    ("rotations", "has_pose", (16, 3, 3), np.float32),
    ("betas", "has_beta", (10,), np.float32),
    ("translation", "has_cam", (3,), np.float32),
    ("grasp", "has_grasp", (), np.int64),
    ("mask", "has_mask", (224, 224), np.uint8),
)


def _label(hands: list[HandExample], name: str, flag: str, shape: tuple[int, ...], kind: type) -> dict[str, Tensor]:
    """One kind of label and which hands have it; empty if no hand does."""
    has = np.array([name in hand.targets for hand in hands])
    if not has.any():
        return {}
    values: np.ndarray = np.zeros((len(hands), *shape), kind)
    for i in np.flatnonzero(has):
        values[i] = hands[i].targets[name]
    if name in ("joints_2d", "joints_3d"):
        has = has[:, None] & np.isfinite(values).all(-1)
    return {name: torch.from_numpy(values), flag: torch.from_numpy(has)}


def _floats(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32))
