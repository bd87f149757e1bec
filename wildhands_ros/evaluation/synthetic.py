"""Evaluation suite made of the synthetic world's images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..datasets.labels import LabelledImage
from ..synthetic.config import world_config
from ..synthetic.world import World

MIN_VISIBLE = 0.1
"""Fraction of visible keypoints below which a hand is not evaluated."""


def world_images(preset: str, split: str, seed: int, count: int) -> Iterator[LabelledImage]:
    """Iterate over the first ``count`` images of a split. Hands that are hardly visible are marked to be ignored.

    Raises:
        ValueError: There is no such world or split, or the count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    world = World(world_config(preset, split, seed))
    return (_image(world, index) for index in range(count))


def _image(world: World, index: int) -> LabelledImage:
    sample = world.sample(index)
    hands = (replace(hand, ignore=hand.visible_fraction < MIN_VISIBLE) for hand in sample.hands)
    return replace(sample, hands=tuple(hands))
