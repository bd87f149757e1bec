"""Batches of training pictures, each a function of (seed, step, place in the batch) alone.

So the order does not depend on the number of processes that train or prepare pictures, and training can go on from any step.
"""

from __future__ import annotations

import dataclasses
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..hand_model.asset import HandAsset
from ..network.trunks import TrunkKind
from ..types import Side
from .config import TrainingConfig
from .examples import ExampleMaker, HandExample, ImageExample
from .randomness import generator
from .sources import Source, open_source
from .targets import Targets
from .usable_labels import Skipped

_ATTEMPTS = 50
"""Pictures in a row without a usable hand before training gives up."""


@dataclass(frozen=True)
class Batch:
    """B hands in N pictures."""

    crops: Tensor | None
    """(B, 224, 224, 3) uint8; None where there are ``features``."""
    images: Tensor | None
    """(N, 224, 224, 3) uint8, where the network sees whole images."""
    kpe: Tensor
    """As in ``WildHands.forward``."""
    is_real: Tensor
    """(B,) bool, see ``ImageExample.is_real``."""
    targets: Targets
    skipped: Counter[str]
    """What could not be used on the way to these pictures, by reason."""
    details: dict[str, str]
    """An example of each reason."""
    features: Tensor | None = None
    """(B, C, h, w) half precision: what the trunk's first stages have made of the crops, see ``training.pool``."""
    taught: Tensor | None = None
    """(B, 128) what the teacher says of the crops, see ``distillation.packed``."""

    def to(self, device: torch.device) -> Batch:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Batch(**{name: v.to(device) if isinstance(v, Tensor | Targets) else v for name, v in values.items()})


def normalized(colours: Tensor, kind: TrunkKind) -> Tensor:
    """(B, 224, 224, 3) uint8 to (B, 3, 224, 224) as a trunk takes them."""
    mean, std = (torch.tensor(values, device=colours.device) for values in (kind.mean, kind.std))
    return ((colours.float() / 255 - mean) / std).permute(0, 3, 1, 2)


class Batches(Dataset):
    """The part of each step's batch that falls to one process; ``batches[step]``, from step 1 on. Raises ValueError where nothing can be
    found for it."""

    def __init__(
        self, config: TrainingConfig, assets: dict[Side, HandAsset], rank: int = 0, processes: int = 1
    ) -> None:
        """Raises ValueError where the batch cannot be shared out, or a source cannot be opened."""
        if config.batch_size % processes:
            raise ValueError(f"batch_size {config.batch_size} cannot be shared out evenly among {processes} processes")
        self._seed = config.seed
        share = config.batch_size // processes
        self.places = range(rank * share, (rank + 1) * share)
        """Of a batch's pictures, those that fall to this process."""
        opened = [(open_source(source, config.network, assets, config.seed), source) for source in config.sources]
        self.missing = [f"{source.name} ({source.root})" for found, source in opened if found is None]
        """Sources that this machine does not have and that training does without."""
        self.sources: list[Source] = [found for found, _ in opened if found is not None]
        weights = np.array([source.weight for found, source in opened if found is not None])
        if not self.sources:
            raise ValueError(f"there is nothing to train with: no {', '.join(self.missing)} on this machine")
        self._shares = weights / weights.sum()
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
            source = self.sources[int(rng.choice(len(self.sources), p=self._shares))]
            example, reasons = source.draw(rng, self._maker)
            skipped += reasons
            if example is not None:
                return example, skipped
        reason, detail = skipped[-1]
        raise ValueError(f"{_ATTEMPTS} images in a row had no usable hand; the last: {reason} ({detail})")


def load_batches(batches: Batches, first: int, last: int, workers: int) -> Iterator[Batch]:
    """The batches of steps ``first`` to ``last``, in order, prepared by worker processes where ``workers`` is not 0.

    Raises what ``batches[step]`` raises.
    """
    loader = DataLoader(
        _Guarded(batches),
        batch_size=None,
        sampler=range(first, last + 1),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_start_worker if workers else None,
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Guarded(Dataset):
    """Hands errors over as they are; a worker process would wrap them in its traceback."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, step: int) -> Batch | Exception:
        try:
            return self._batches[step]
        except (ValueError, OSError) as error:
            return error


def _start_worker(_: int) -> None:
    # More threads than processes only get in each other's way.
    cv2.setNumThreads(0)
    # Ctrl-C reaches all processes of a terminal; the trainer finishes its step and then ends these.
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
    """A kind of label and who has it, or nothing where nobody has."""
    has = np.array([name in hand.targets for hand in hands])
    if not has.any():
        return {}
    values = np.zeros((len(hands), *shape), kind)
    for i in np.flatnonzero(has):
        values[i] = hands[i].targets[name]
    if name in ("joints_2d", "joints_3d"):
        has = has[:, None] & np.isfinite(values).all(-1)
    return {name: torch.from_numpy(values), flag: torch.from_numpy(has)}


def _floats(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays).astype(np.float32))
