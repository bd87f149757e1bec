"""Random numbers as a function of where they are needed, so that nothing of them has to be saved and any step can be done again."""

from __future__ import annotations

import numpy as np
import torch


def generator(seed: int, *place: int) -> np.random.Generator:
    """Independent numbers for each ``place``: whole numbers from 0 on, such as (step, picture)."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def seed_torch(seed: int, *place: int) -> None:
    """Sets torch's generators, of dropout and such, on all devices."""
    torch.manual_seed(int(generator(seed, *place).integers(2**63)))
