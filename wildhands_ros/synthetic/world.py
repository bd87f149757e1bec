"""The synthetic world: numbered pictures of hands with their labels, whole frames and windows of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..datasets.labels import LabelledHand, LabelledImage, Supervision
from .composition import make_scene
from .config import WorldConfig, world_config
from .render import Picture, keypoint_visibility, render
from .scene import Scene


class World:
    """Numbered samples of one world. Any number from 0 on has a sample; the same number always has the same.

    A world keeps no state: it may be copied to worker processes before or after it is used.
    """

    def __init__(self, config: WorldConfig | str, split: str = "train", seed: int = 0):
        """``config``: a ``WorldConfig``, or a preset's name with a split and a seed."""
        self.config = world_config(config, split, seed) if isinstance(config, str) else config

    def scene(self, index: int) -> Scene:
        """What sample ``index`` shows, not yet drawn. Several windows of one frame are faster from one scene.

        :raises ValueError: a negative index.
        """
        if index < 0:
            raise ValueError(f"samples are numbered from 0, there is no number {index}")
        return make_scene(self.config, index)

    def sample(self, index: int) -> LabelledImage:
        """The whole frame of a number."""
        return self.window(self.scene(index))

    def window(
        self, scene: Scene, affine: np.ndarray | None = None, width: int | None = None, height: int | None = None
    ) -> LabelledImage:
        """Any window: ``affine`` (2, 3) leads from the frame's pixels to the window's."""
        affine = np.eye(2, 3) if affine is None else affine
        picture = render(scene, affine, width, height)
        return LabelledImage(
            name=f"{self.config.name} {scene.index}",
            load_image=partial(np.asarray, picture.image),
            camera=picture.camera,
            hands=tuple(_label(scene, picture, affine, number) for number in range(len(scene.hands))),
            supervision=frozenset(Supervision),
        )


def _label(scene: Scene, picture: Picture, affine: np.ndarray, number: int) -> LabelledHand:
    """The scene's hand in the window's pixels, with what only the rendered image tells: its mask and which keypoints are visible."""
    hand = scene.hands[number]
    corners = np.array([(x, y) for x in hand.box[::2] for y in hand.box[1::2]]) @ affine[:, :2].T + affine[:, 2]
    return replace(
        hand,
        box=np.concatenate([corners.min(axis=0), corners.max(axis=0)]),
        keypoints=picture.camera.project(hand.joints),
        visible=keypoint_visibility(scene, picture, number),
        load_mask=partial(np.asarray, picture.masks[number]),
    )
