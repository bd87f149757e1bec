"""The synthetic world: numbered pictures of hands with their labels, whole frames and windows of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.camera import Camera
from ..types import Grasp, Side
from .composition import make_scene
from .config import WorldConfig, world_config
from .render import Picture, keypoint_visibility, render
from .scene import Scene, WorldHand


@dataclass(frozen=True, eq=False)
class PicturedHand:
    """One hand in one picture: ``truth`` is in the camera frame, the rest in the picture."""

    truth: WorldHand
    keypoints: np.ndarray
    """(21, 2) pixels, which may lie outside of the picture."""
    visible: np.ndarray
    """(21,) bool: within the picture and not hidden."""
    mask: np.ndarray
    """(h, w) bool: the hand's visible part, without the forearm."""

    @property
    def side(self) -> Side:
        return self.truth.side

    @property
    def grasp(self) -> Grasp:
        return self.truth.grasp


@dataclass(frozen=True, eq=False)
class WorldSample:
    """A frame, or a window of it with the window's own camera."""

    index: int
    image: np.ndarray
    """(h, w, 3) uint8 RGB"""
    camera: Camera
    """Of ``image``: pixels of a window, turned or not, with the true rays of the frame's camera."""
    hands: tuple[PicturedHand, ...]
    """One or two, never of the same side."""


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

    def sample(self, index: int) -> WorldSample:
        """The whole frame of a number."""
        return self.window(self.scene(index))

    def window(
        self, scene: Scene, affine: np.ndarray | None = None, width: int | None = None, height: int | None = None
    ) -> WorldSample:
        """Any window: ``affine`` (2, 3) leads from the frame's pixels to the window's."""
        picture = render(scene, affine, width, height)
        return WorldSample(
            index=scene.index,
            image=picture.image,
            camera=picture.camera,
            hands=tuple(_pictured(scene, picture, number) for number in range(len(scene.hands))),
        )


def _pictured(scene: Scene, picture: Picture, number: int) -> PicturedHand:
    hand = scene.hands[number]
    return PicturedHand(
        hand, picture.camera.project(hand.joints), keypoint_visibility(scene, picture, number), picture.masks[number]
    )
