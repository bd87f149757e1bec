"""The synthetic world's numbered pictures as a suite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..synthetic.config import world_config
from ..synthetic.world import PicturedHand, World
from .pictures import TrueHand, TruePicture

LEAST_VISIBLE = 0.1
"""Share of the keypoints below which a hand is not there to be estimated."""


def world_pictures(preset: str, split: str, seed: int, count: int) -> Iterator[TruePicture]:
    """The first ``count`` pictures of a split. Hands of which hardly anything can be seen are no samples.

    Raises ValueError where there is no such world or split, or the count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    world = World(world_config(preset, split, seed))
    return (_picture(world, index) for index in range(count))


def _picture(world: World, index: int) -> TruePicture:
    sample = world.sample(index)
    hands = tuple(_hand(hand) for hand in sample.hands if hand.visible.mean() >= LEAST_VISIBLE)
    return TruePicture(
        f"{world.config.name} {index}",
        lambda: sample.image,
        sample.camera,
        hands,
        hidden_hands=len(sample.hands) - len(hands),
    )


def _hand(hand: PicturedHand) -> TrueHand:
    return TrueHand(
        box=hand.truth.box,
        side=hand.side,
        keypoints=np.where(np.isfinite(hand.keypoints).all(axis=-1, keepdims=True), hand.keypoints, np.nan),
        joints=hand.truth.joints,
        grasp=hand.grasp,
        load_mask=lambda: hand.mask,
        visible_share=float(hand.visible.mean()),
    )
