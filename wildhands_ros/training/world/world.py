"""The synthetic world: numbered pictures of hands with their labels, whole frames and crops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...geometry.camera import Camera
from ...structures import Grasp, Side
from ..datasets.sample import HandLabels, HandSample, Supervision
from .composition import make_scene
from .config import WorldConfig, world_config
from .render import Picture, keypoint_visibility, render
from .scene import Scene, WorldHand

CROP_SIZE = 224
CROP_SCALE = 1.75
"""Side of a crop over the longer side of the hand's box, as in ``network.preprocessing``."""


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
    """Of ``image``: pixels of a crop, turned or not, with the true rays of the frame's camera."""
    frame_camera: Camera
    affine: np.ndarray
    """(2, 3) from the frame's pixels to those of ``image``."""
    hands: tuple[PicturedHand, ...]
    """One or two, never of the same side. In a crop, the cropped one comes first."""
    labels_3d: bool
    """Whether training may use more than masks and grasps."""


class World:
    """Numbered samples of one world. Any number from 0 on has a sample; the same number always has the same.

    A world keeps no state: it may be copied to worker processes before or after it is used.
    """

    def __init__(self, config: WorldConfig | str, split: str = "train", seed: int = 0):
        """``config``: a ``WorldConfig``, or a preset's name with a split and a seed."""
        self.config = world_config(config, split, seed) if isinstance(config, str) else config

    def scene(self, index: int) -> Scene:
        """What sample ``index`` shows, not yet drawn. Several crops of one frame are faster from one scene.

        :raises ValueError: a negative index.
        """
        if index < 0:
            raise ValueError(f"samples are numbered from 0, there is no number {index}")
        return make_scene(self.config, index)

    def sample(self, index: int) -> WorldSample:
        """The whole frame of a number."""
        return self.window(self.scene(index))

    def crop(self, index: int, hand: int = 0, size: int = CROP_SIZE, scale: float = CROP_SCALE, turn: float = 0.0) -> WorldSample:
        """A square window around one hand of a number, drawn at once; see ``crop_affine``."""
        return self.crop_of(self.scene(index), hand, size, scale, turn)

    def crop_of(
        self,
        scene: Scene,
        hand: int = 0,
        size: int = CROP_SIZE,
        scale: float = CROP_SCALE,
        turn: float = 0.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> WorldSample:
        """A square window around one hand of a scene; ``hand`` modulo the number of hands."""
        hand = hand % len(scene.hands)
        return self.window(scene, crop_affine(scene.hands[hand].box, size, scale, turn, shift), size, size, first=hand)

    def window(
        self, scene: Scene, affine: np.ndarray | None = None, width: int | None = None, height: int | None = None, first: int = 0
    ) -> WorldSample:
        """Any window: ``affine`` (2, 3) leads from the frame's pixels to the window's. Hand number ``first`` comes first."""
        picture = render(scene, affine, width, height)
        order = sorted(range(len(scene.hands)), key=lambda number: (number != first, number))
        return WorldSample(
            index=scene.index,
            image=picture.image,
            camera=picture.camera,
            frame_camera=scene.camera,
            affine=np.eye(2, 3) if affine is None else np.asarray(affine, dtype=np.float64),
            hands=tuple(_pictured(scene, picture, number) for number in order),
            labels_3d=self.config.labels_3d,
        )

    def hand_sample(self, index: int) -> HandSample:
        """The whole frame in the common form of all data sets; image and masks are drawn when they are loaded."""
        scene = self.scene(index)
        supervision = {Supervision.GRASP, Supervision.MASK}
        if self.config.labels_3d:
            supervision |= {Supervision.KEYPOINTS, Supervision.JOINTS}
        return HandSample(
            name=f"{self.config.name}/{self.config.split}/{self.config.seed}/{index}",
            load_image=partial(_image, scene),
            camera=scene.camera,
            hands={hand.side: _labels(scene, number) for number, hand in enumerate(scene.hands)},
            supervision=frozenset(supervision),
        )

    def __iter__(self) -> Iterator[WorldSample]:
        """Whole frames from number 0 on, without end."""
        return map(self.sample, itertools.count())


def crop_affine(box: np.ndarray, size: int, scale: float, turn: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(2, 3) from the frame's pixels to a square window around a box.

    Args:
        box: (4,) x_min, y_min, x_max, y_max in the frame.
        size: pixels of the window's side.
        scale: the window's side over the box's longer side.
        turn: radians, clockwise as seen: the direction in the frame that points up in the window, from the frame's up.
        shift: of the window's centre, in parts of its side along its own axes.
    """
    longer = max(float((box[2:] - box[:2]).max()), 1.0)
    zoom = size / (scale * longer)
    cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    middle = (size - 1) / 2 - size * np.asarray(shift, dtype=np.float64)
    return np.column_stack([linear, middle - linear @ ((box[:2] + box[2:]) / 2)])


def _pictured(scene: Scene, picture: Picture, number: int) -> PicturedHand:
    hand = scene.hands[number]
    return PicturedHand(hand, picture.camera.project(hand.joints), keypoint_visibility(scene, picture, number), picture.masks[number])


def _image(scene: Scene) -> np.ndarray:
    return render(scene).image


def _mask(scene: Scene, number: int) -> np.ndarray:
    return render(scene).masks[number]


def _labels(scene: Scene, number: int) -> HandLabels:
    hand = scene.hands[number]
    return HandLabels(
        box=hand.box,
        keypoints=hand.keypoints,
        keypoints_valid=np.isfinite(hand.keypoints).all(axis=-1),
        joints=hand.joints,
        joints_valid=np.ones(21, bool),
        load_mask=partial(_mask, scene, number),
        grasp=hand.grasp,
    )
