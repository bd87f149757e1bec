"""Where training pictures come from. Each draw depends on its random generator only, so any process can do any draw."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np

from ..datasets import DatasetError, Supervision, open_dataset
from ..datasets.coco_hands import read_coco_hands
from ..datasets.labels import LabelledImage
from ..geometry.boxes import rotated_square
from ..geometry.camera import Camera
from ..hand_model.asset import HandAsset
from ..io.images import IMAGE_SUFFIXES, InputError, load_image
from ..network.config import WildHandsConfig
from ..network.preprocessing import usable_boxes
from ..types import Side
from .config import INSTALLED, PHOTOGRAPHS, WORLD_PREFIX, SourceConfig
from .pictures import LEAST_BOX, Picture, PictureMaker, Window
from .usable_labels import Skipped, usable_hands

_LAB_LABELS = frozenset(
    {Supervision.KEYPOINTS, Supervision.JOINTS, Supervision.POSE, Supervision.BETAS, Supervision.CAMERA},
)
_WILD_LABELS = frozenset({Supervision.GRASP, Supervision.MASK})
_LEAST_WINDOW = 64
"""Pixels of a photograph."""


class Source(Protocol):
    skipped: dict[str, int]
    """What cannot be used at all, by reason; known from the start."""

    def draw(self, rng: np.random.Generator, maker: PictureMaker) -> tuple[Picture, list[Skipped]]:
        """A random picture; without hands where it turns out to be of no use, which the list then says."""
        ...


def photograph_files(root: str) -> list[Path]:
    """The images in a folder of photographs and below."""
    return sorted(path for path in Path(root).expanduser().rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def open_source(
    config: SourceConfig, network: WildHandsConfig, assets: dict[Side, HandAsset], seed: int
) -> Source | None:
    """None for installed photographs where there are none. Raises ValueError where the source is not known or its files are missing."""
    if config.name.startswith(WORLD_PREFIX):
        return _WorldSource(config, seed)
    if config.name == PHOTOGRAPHS:
        return _PhotographSource(config, network) or None
    return _DatasetSource(config, assets)


class _DatasetSource:
    def __init__(self, config: SourceConfig, assets: dict[Side, HandAsset]) -> None:
        self._name, self._assets, self._labels = config.name, assets, frozenset(config.labels)
        self._dataset = open_dataset(config.name, config.root, config.split, paper_labels=config.paper_labels)
        if lacking := self._labels - self._dataset.SUPERVISION:
            raise DatasetError(f"{config.name} has no labels for {', '.join(sorted(label.value for label in lacking))}")
        if not self._dataset.SUPERVISION:
            raise DatasetError(f"{config.name} is for evaluation; it has no labels to train with")
        self.skipped = {f"{config.name}: {reason}": count for reason, count in self._dataset.skipped.items()}

    def draw(self, rng: np.random.Generator, maker: PictureMaker) -> tuple[Picture, list[Skipped]]:
        index = int(rng.integers(len(self._dataset)))
        try:
            sample = self._dataset[index]
            if self._labels:
                sample = dataclasses.replace(sample, supervision=sample.supervision & self._labels)
            hands, skipped = usable_hands(sample, self._assets, self._name)
            if not hands:
                return Picture([], None), skipped
            name = f"{self._name} {sample.name}"
            picture, more = maker.make(dataclasses.replace(sample, name=name, hands=tuple(hands)), rng)
        except DatasetError as error:
            return Picture([], None), [Skipped(f"{self._name}: image or mask that cannot be read", str(error))]
        return picture, skipped + more


class _WorldSource:
    def __init__(self, config: SourceConfig, seed: int) -> None:
        from ..synthetic.config import world_config

        self._config = world_config(config.name.removeprefix(WORLD_PREFIX), config.split, seed)
        self._labels = frozenset(config.labels) or (_LAB_LABELS if self._config.labels_3d else _WILD_LABELS)
        self.skipped: dict[str, int] = {}

    def draw(self, rng: np.random.Generator, maker: PictureMaker) -> tuple[Picture, list[Skipped]]:
        from ..synthetic.composition import make_scene
        from ..synthetic.render import render

        scene = make_scene(self._config, int(rng.integers(2**31)))
        places = {hand.side: i for i, hand in enumerate(scene.hands)}

        def draw_crop(affine: np.ndarray, side: Side) -> tuple[np.ndarray, np.ndarray]:
            rendered = render(scene, affine, 224, 224)
            return rendered.image, rendered.masks[places[side]]

        frame = LabelledImage(
            name=f"{self._config.name} {scene.index}",
            load_image=lambda: render(scene).image,
            camera=scene.camera,
            hands=scene.hands,
            supervision=self._labels,
        )
        return maker.render(frame, draw_crop, rng)


class _PhotographSource:
    """Windows of photographs: around the annotated hands where there is a COCO-style .json, else anywhere."""

    def __init__(self, config: SourceConfig, network: WildHandsConfig) -> None:
        self._crop_scale = network.crop_scale
        self._hands: list[LabelledImage] = []
        self.skipped: dict[str, int] = {}
        if config.root == INSTALLED:
            from ..synthetic.backgrounds import photo_files

            self._files = list(photo_files())
            return
        folder = Path(config.root).expanduser()
        if not folder.is_dir():
            raise DatasetError(f"photographs: the folder {folder} does not exist")
        if any(folder.glob("*.json")):
            self._hands = read_coco_hands(folder)
        self._files = photograph_files(config.root)
        if not self:
            raise DatasetError(f"photographs: there is no image ({', '.join(IMAGE_SUFFIXES)}) in {folder} or below")

    def __bool__(self) -> bool:
        return bool(self._hands or self._files)

    def draw(self, rng: np.random.Generator, maker: PictureMaker) -> tuple[Picture, list[Skipped]]:
        photo = self._hands[int(rng.integers(len(self._hands)))] if self._hands else None
        path = photo.name if photo else str(self._files[int(rng.integers(len(self._files)))])
        try:
            image = photo.load_image() if photo else load_image(Path(path))
        except (OSError, InputError) as error:
            return Picture([], None), [Skipped("photographs: image that cannot be read", f"{path}: {error}")]
        window = self._anywhere(image, rng) if photo is None else _around(photo, image, rng)
        if window is None:
            what = (
                "image that is too small"
                if photo is None
                else "hand of too few keypoints, or outside of the picture or too small"
            )
            return Picture([], None), [Skipped(f"photographs: {what}", path)]
        return maker.unlabelled(path, image, window), []

    def _anywhere(self, image: np.ndarray, rng: np.random.Generator) -> Window | None:
        height, width = image.shape[:2]
        if min(height, width) < _LEAST_WINDOW:
            return None
        side = _LEAST_WINDOW * (min(height, width) / _LEAST_WINDOW) ** rng.random()
        middle = side / 2 + rng.random(2) * (np.array([width, height]) - side)
        half = side / self._crop_scale / 2
        return Window(0, np.concatenate([middle - half, middle + half]), float(rng.uniform(-np.pi, np.pi)))


def _around(photo: LabelledImage, image: np.ndarray, rng: np.random.Generator) -> Window | None:
    """Turned any way, for the landmark network's features have to last there, too. None where nothing of the hand is to be seen."""
    turn = float(rng.uniform(-np.pi, np.pi))
    (hand,) = photo.hands
    if hand.keypoints is None or hand.known_keypoints.sum() < 2:
        return None
    box = rotated_square(hand.keypoints, turn)
    side = (box[2:] - box[:2]).max()
    middle = (box[:2] + box[2:]) / 2 + rng.uniform(-0.2, 0.2, 2) * side
    half = side / 2 * 1.3 ** rng.uniform(-1, 1)
    window = Window(0, np.concatenate([middle - half, middle + half]), turn)
    camera = Camera.guess(image.shape[1], image.shape[0])
    return window if window.side >= LEAST_BOX and usable_boxes(camera, window.box).all() else None
