"""The synthetic world's numbered pictures as a suite."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..datasets.labels import LabelledImage
from ..synthetic.config import world_config
from ..synthetic.world import World

LEAST_VISIBLE = 0.1
"""Share of the keypoints below which a hand is not there to be estimated."""


def world_pictures(preset: str, split: str, seed: int, count: int) -> Iterator[LabelledImage]:
    """The first ``count`` pictures of a split. Hands of which hardly anything can be seen are no samples.

    Raises ValueError where there is no such world or split, or the count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    world = World(world_config(preset, split, seed))
    return (_picture(world, index) for index in range(count))


def _picture(world: World, index: int) -> LabelledImage:
    sample = world.sample(index)
    hands = (replace(hand, ignore=hand.visible_fraction < LEAST_VISIBLE) for hand in sample.hands)
    return replace(sample, hands=tuple(hands))
