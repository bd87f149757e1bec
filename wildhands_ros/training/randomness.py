"""Random numbers as a function of where they are used, so that no generator state has to be saved and any step can be
repeated."""

from __future__ import annotations

import numpy as np
import torch


def generator(seed: int, *place: int) -> np.random.Generator:
    """Return a generator that is independent for each ``place``: whole numbers from 0 on, such as (step, position in
    the batch)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def seed_torch(seed: int, *place: int) -> None:
    """Seed torch's global generators (dropout and the like) on all devices."""
    torch.manual_seed(int(generator(seed, *place).integers(2**63)))
