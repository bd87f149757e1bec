"""The synthetic world: an endless sequence of labelled images of hands, whole frames and windows of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..datasets.labels import LabelledHand, LabelledImage, Supervision
from .composition import make_scene
from .config import WorldConfig, world_config
from .render import RenderedImage, keypoint_visibility, render
from .scene import Scene


class World:
    """Labelled images by index. Every index from 0 has an image, and the same index always has the same image.

    A world has no state, so it can be copied to worker processes at any time.
    """

    def __init__(self, config: WorldConfig | str, split: str = "train", seed: int = 0):
        """Creates a world.

        Args:
            config: A configuration, or the name of a preset.
            split: Split of the preset.
            seed: Seed of the preset.
        """
        self.config = world_config(config, split, seed) if isinstance(config, str) else config

    def scene(self, index: int) -> Scene:
        """Returns the scene of an index, not yet rendered. It is faster to render several windows from one scene.

        Raises:
            ValueError: The index is negative.
        """
        if index < 0:
            raise ValueError(f"the index of an image must be at least 0, not {index}")
        return make_scene(self.config, index)

    def sample(self, index: int) -> LabelledImage:
        """Returns the whole frame of an index."""
        return self.window(self.scene(index))

    def window(
        self, scene: Scene, affine: np.ndarray | None = None, width: int | None = None, height: int | None = None
    ) -> LabelledImage:
        """Renders any window of a scene.

        Args:
            scene: The scene.
            affine: (2, 3) map from pixels of the frame to pixels of the window; None for the whole frame.
            width: Width of the window; None for that of the frame.
            height: Height of the window; None for that of the frame.
        """
        affine = np.eye(2, 3) if affine is None else affine
        rendered = render(scene, affine, width, height)
        return LabelledImage(
            name=f"{self.config.name} {scene.index}",
            load_image=partial(np.asarray, rendered.image),
            camera=rendered.camera,
            hands=tuple(_label(scene, rendered, affine, number) for number in range(len(scene.hands))),
            supervision=frozenset(Supervision),
        )


def _label(scene: Scene, rendered: RenderedImage, affine: np.ndarray, number: int) -> LabelledHand:
    """Returns a hand of the scene in pixels of the window, with its mask and visible keypoints."""
    hand = scene.hands[number]
    assert hand.joints is not None
    corners = np.array([(x, y) for x in hand.box[::2] for y in hand.box[1::2]]) @ affine[:, :2].T + affine[:, 2]
    return replace(
        hand,
        box=np.concatenate([corners.min(axis=0), corners.max(axis=0)]),
        keypoints=rendered.camera.project(hand.joints),
        visible=keypoint_visibility(scene, rendered, number),
        load_mask=partial(np.asarray, rendered.masks[number]),
    )
