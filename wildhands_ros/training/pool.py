"""A fixed pool of training examples that are reused in every epoch, with the outputs of the trunk's frozen stages
precomputed.

On a CPU, drawing an example and running those stages take most of a training step. The outputs of both, and the
teacher's, are kept in the cache folder. Each source has files of its own, so that a source can be added or changed
without rendering the others again.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .. import versions
from ..hand_model.asset import HandAsset
from ..io.cache_files import cached_output, is_cached, own_cache_folder
from ..io.cache_key import cache_key
from ..io.paths import cache_folder
from ..network.config import Fusion
from ..network.landmark_net import BLOCKS, LandmarkNet, LandmarkTrunk
from ..network.trunk_kinds import TRUNKS
from ..network.weights_digest import weights_digest
from ..runtime.processes import in_processes
from ..runtime.threads import available_cpus
from ..synthetic.backgrounds import photo_files
from ..types import Side
from .batch_files import load_joined, save_batch, select_hands
from .batches import Batch, Batches, normalized
from .config import INSTALLED, PHOTOGRAPHS, Precision, SourceConfig, TrainingConfig
from .config_file import ConfigError, to_mapping
from .distillation import packed
from .distributed import local_place
from .initialisation import hand_assets, initial_network
from .randomness import generator
from .sources import annotation_files, photograph_files

_CHUNK = 32
"""Images per file of a pool that has at least as many."""
_CROPS_PER_PASS = 16
"""Crops per forward pass of the trunk."""
_AFTER_TRUNK = {"network": ("features", "grasp_input", "landmark_input"), "augmentation": ("true_landmarks",)}
"""Configuration keys that only matter behind the trunk, so the pool does not depend on them."""
_STAGES = ("stem", *(f"blocks.{i}" for i in range(len(BLOCKS))), "last")


def frozen_stages(config: TrainingConfig) -> int:
    """Count the hand trunk's first stages that never change.

    Raises:
        ConfigError: The network is of another kind, which has no pool.
    """
    if config.network.trunk != "mediapipe_hand" or config.network.full_image_trunk or config.network.encoding.at_input:
        raise ConfigError(
            "pool stores features of crops, so it needs network.trunk: mediapipe_hand, full_image_trunk: false "
            "and a latent encoding"
        )
    factors = {module: group.lr_factor for group in config.optimizer.groups for module in group.modules}
    count = 0
    while count < len(_STAGES) and _never_changes(f"hand_trunk.{_STAGES[count]}", factors):
        count += 1
    return count


def _never_changes(part: str, factors: Mapping[str, float]) -> bool:
    """Whether a part of the network is frozen, given the learning rate factors of the parts named in the
    configuration."""
    around = max((name for name in factors if f"{part}.".startswith(f"{name}.")), key=len, default=None)
    within = (factor for name, factor in factors.items() if name.startswith(f"{part}."))
    return around is not None and factors[around] == 0 and not any(within)


class Pool:
    """Used in place of ``Batches``: the same images in every epoch, in an order that depends only on the seed and the
    epoch."""

    def __init__(
        self, config: TrainingConfig, assets: dict[Side, HandAsset], rank: int = 0, processes: int = 1
    ) -> None:
        """Create the files that are missing; see ``Batches`` for the arguments.

        Raises:
            ValueError: A source cannot be opened.
            OSError: The cache folder cannot be written.
        """
        batches = Batches(config, assets, rank, processes)
        self.missing, self.sources = batches.missing, batches.sources
        self._config, self._seed = config, config.seed
        self._places = batches.places
        parts = single_source_runs(config, batches.available, batches.shares.tolist())
        self._hands = load_joined([path for part in parts for path in _make(part, _folder(part), *local_place())])
        index = self._hands.targets.image_index.numpy()
        self._starts = np.searchsorted(index, np.arange(self._hands.targets.num_images + 1))

    def __getitem__(self, step: int) -> Batch:
        count = self._hands.targets.num_images
        drawn = [(step - 1) * self._config.batch_size + place for place in self._places]
        images = [_order(self._seed, place // count, count)[place % count] for place in drawn]
        rows = np.concatenate([np.arange(*self._starts[image : image + 2]) for image in images])
        hands_per_image = [np.diff(self._starts[image : image + 2])[0] for image in images]
        image_index = np.repeat(np.arange(len(images)), hands_per_image)
        batch = select_hands(self._hands, torch.from_numpy(rows), torch.from_numpy(image_index), len(images))
        if drawn[0] == 0:
            # Reported for the whole pool, by one process and once, even if the run is resumed.
            batch = dataclasses.replace(batch, skipped=self._hands.skipped, details=self._hands.details)
        return batch


def single_source_runs(
    config: TrainingConfig, sources: Sequence[SourceConfig], shares: Sequence[float]
) -> list[TrainingConfig]:
    """Split a run with a pool into runs with one source each, whose pools have their share of the images, at least one.

    Args:
        config: The run.
        sources: Those of its sources that this machine has.
        shares: Each source's share of the images.
    """
    return [
        dataclasses.replace(
            config, sources=(dataclasses.replace(source, weight=1.0),), pool=max(1, round(share * config.pool))
        )
        for source, share in zip(sources, shares, strict=True)
    ]


def _folder(config: TrainingConfig) -> Path:
    """The folder of one source's part of the pool, named after everything that its contents depend on."""
    used = {
        name: value
        for name, value in to_mapping(config).items()
        if name in ("network", "sources", "augmentation", "seed", "precision")
    }
    for part, names in _AFTER_TRUNK.items():
        used[part] = {name: value for name, value in used[part].items() if name not in names}
    roots = {source.root for source in config.sources if source.name == PHOTOGRAPHS and source.root != INSTALLED}
    values = used | {
        "versions": [versions.SYNTHETIC, versions.EXAMPLES],
        "hand_model": config.hand_model,
        "stages": weights_digest(_front(config)),
        "taught": config.distillation.is_used,
        "photos": [path.name for path in photo_files()],
        "photographs": {root: [path.name for path in photograph_files(root)] for root in roots},
        "annotations": [path.read_text() for source in config.sources for path in annotation_files(source)],
        "images_per_file": _images_per_file(config),
    }
    return cache_folder() / "pools" / cache_key(values)


def _images_per_file(config: TrainingConfig) -> int:
    return min(_CHUNK, config.pool)


def _make(config: TrainingConfig, folder: Path, rank: int, processes: int) -> list[Path]:
    """Create the pool's files; each process of a machine creates its share and waits for the others."""
    own_cache_folder(folder.parent.name, folder.name)
    paths = [folder / f"{chunk:06d}.pt" for chunk in range(-(-config.pool // _images_per_file(config)))]
    mine = [chunk for chunk in range(rank, len(paths), processes) if not is_cached(paths[chunk])]
    if mine:
        workers = min(len(mine), max(1, available_cpus() // processes))
        made = in_processes(partial(_make_chunk, config, folder), mine, workers)
        for _ in tqdm(made, total=len(mine), unit="file", desc="pool", file=sys.stderr, disable=rank > 0):
            pass
    while not all(path.exists() for path in paths):
        time.sleep(1)
    return paths


def _make_chunk(config: TrainingConfig, folder: Path, chunk: int) -> None:
    maker = _maker(dataclasses.replace(config, batch_size=_images_per_file(config)))
    batch = maker.batches[chunk + 1]
    if batch.crops is None:
        raise ValueError("the batch has no crops")
    features, taught = [], []
    with torch.no_grad():
        for crops in normalized(batch.crops, TRUNKS[config.network.trunk]).split(_CROPS_PER_PASS):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision is not Precision.FLOAT32):
                maps = maker.front(crops.contiguous(memory_format=torch.channels_last))
            features.append((maps.float().mean(dim=(2, 3), keepdim=True) if _is_averaged(config) else maps).half())
            if maker.teacher is not None:
                taught.append(packed(maker.teacher(crops)))
    batch = dataclasses.replace(
        batch, crops=None, features=torch.cat(features), taught=torch.cat(taught) if taught else None
    )
    with cached_output(folder / f"{chunk:06d}.pt") as path:
        save_batch(batch, path)


def _is_averaged(config: TrainingConfig) -> bool:
    """Whether only averages of the features are needed behind the frozen stages."""
    return config.network.fusion is Fusion.POOLED and frozen_stages(config) == len(_STAGES)


class _Maker(NamedTuple):
    batches: Batches
    front: nn.Module
    """The frozen stages."""
    teacher: LandmarkNet | None


@cache
def _maker(config: TrainingConfig) -> _Maker:
    teacher = (
        LandmarkNet.from_mediapipe().to(memory_format=torch.channels_last) if config.distillation.is_used else None
    )
    return _Maker(Batches(config, hand_assets(config)), _front(config).to(memory_format=torch.channels_last), teacher)


def _front(config: TrainingConfig) -> nn.Module:
    """The frozen stages of the hand trunk."""
    trunk = initial_network(config).hand_trunk
    if not isinstance(trunk, LandmarkTrunk):
        raise ConfigError("pool needs network.trunk: mediapipe_hand")
    return nn.Sequential(*trunk.stages[: frozen_stages(config)])


@cache
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return generator(seed, epoch).permutation(count)
