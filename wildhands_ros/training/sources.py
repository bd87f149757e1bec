"""Sources of training examples. A draw depends on its random generator only, so any process can make any draw."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np

from ..datasets import DatasetError, Supervision, open_dataset
from ..datasets.coco_hands import read_coco_hands
from ..datasets.labels import LabelledImage
from ..datasets.usable_labels import Skipped, usable_hands
from ..geometry.boxes import rotated_square
from ..geometry.camera import Camera
from ..hand_model.asset import HandAsset
from ..io.images import IMAGE_SUFFIXES, InputError, load_image
from ..network.config import IMAGE_SIZE, WildHandsConfig
from ..network.crop_geometry import usable_boxes
from ..types import Side
from .config import INSTALLED, PHOTOGRAPHS, WORLD_PREFIX, SourceConfig
from .examples import MIN_BOX_SIDE, CropBox, ExampleMaker, ImageExample

_LAB_LABELS = frozenset(
    {Supervision.KEYPOINTS, Supervision.JOINTS, Supervision.POSE, Supervision.BETAS, Supervision.CAMERA},
)
_WILD_LABELS = frozenset({Supervision.GRASP, Supervision.MASK})
_MIN_PHOTO_CROP = 64
"""Least side, in pixels of a photograph, of a crop at a random place."""


class Source(Protocol):
    """A source of training examples."""

    skipped: dict[str, int]
    """Counts of what can never be used, by reason; known from the start."""

    def draw(self, rng: np.random.Generator, maker: ExampleMaker) -> tuple[ImageExample | None, list[Skipped]]:
        """Draw a random example; None if it turns out to be unusable, for the reason in the list."""
        ...


def photograph_files(root: str) -> list[Path]:
    """List the images in a folder and its subfolders."""
    return sorted(path for path in Path(root).expanduser().rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def annotation_files(config: SourceConfig) -> list[Path]:
    """List the files with the annotations of photographs; none for other sources."""
    if config.name != PHOTOGRAPHS or config.root == INSTALLED:
        return []
    if config.annotations:
        return [Path(config.annotations).expanduser()]
    return sorted(Path(config.root).expanduser().glob("*.json"))


def open_source(
    config: SourceConfig, network: WildHandsConfig, assets: dict[Side, HandAsset], seed: int
) -> Source | None:
    """Open a source of training examples.

    Args:
        config: Which source it is.
        network: The network that is trained.
        assets: Its hand model.
        seed: Of the synthetic world.

    Returns:
        The source; None for installed photographs on a machine that has none.

    Raises:
        ValueError: The source is unknown or its files are missing.
    """
    if config.name.startswith(WORLD_PREFIX):
        return _WorldSource(config, seed)
    if config.name == PHOTOGRAPHS:
        source = _PhotographSource(config, network, assets)
        return source if source.has_images else None
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

    def draw(self, rng: np.random.Generator, maker: ExampleMaker) -> tuple[ImageExample | None, list[Skipped]]:
        index = int(rng.integers(len(self._dataset)))
        try:
            image = self._dataset[index]
            if self._labels:
                image = dataclasses.replace(image, supervision=image.supervision & self._labels)
            return _labelled_example(image, self._name, self._assets, rng, maker)
        except DatasetError as error:
            return None, [Skipped(f"{self._name}: image or mask that cannot be read", str(error))]


class _WorldSource:
    def __init__(self, config: SourceConfig, seed: int) -> None:
        from ..synthetic.config import world_config

        self._config = world_config(config.name.removeprefix(WORLD_PREFIX), config.split, seed)
        self._labels = frozenset(config.labels) or (_LAB_LABELS if self._config.labels_3d else _WILD_LABELS)
        self.skipped: dict[str, int] = {}

    def draw(self, rng: np.random.Generator, maker: ExampleMaker) -> tuple[ImageExample | None, list[Skipped]]:
        from ..synthetic.composition import make_scene
        from ..synthetic.render import render

        scene = make_scene(self._config, int(rng.integers(2**31)))
        numbers = {hand.side: number for number, hand in enumerate(scene.hands)}

        def render_crop(affine: np.ndarray, side: Side) -> tuple[np.ndarray, np.ndarray]:
            rendered = render(scene, affine, IMAGE_SIZE, IMAGE_SIZE)
            return rendered.image, rendered.masks[numbers[side]]

        image = LabelledImage(
            name=f"{self._config.name} {scene.index}",
            load_image=lambda: render(scene).image,
            camera=scene.camera,
            hands=scene.hands,
            supervision=self._labels,
        )
        return maker.from_scene(image, render_crop, rng)


def _labelled_example(
    image: LabelledImage, source: str, assets: dict[Side, HandAsset], rng: np.random.Generator, maker: ExampleMaker
) -> tuple[ImageExample | None, list[Skipped]]:
    """Make the example of an image's usable hands; see ``Source.draw``."""
    hands, skipped = usable_hands(image, assets, source)
    if not hands:
        return None, skipped
    image = dataclasses.replace(image, name=f"{source} {image.name}", hands=tuple(hands))
    example, more = maker.from_image(image, rng)
    return example, skipped + more


class _PhotographSource:
    """Crops of photographs: around the annotated hands if there is a COCO-style .json file, else at random places.

    The annotations are labels if the configuration names kinds of labels. Otherwise they only state where hands are.
    """

    def __init__(self, config: SourceConfig, network: WildHandsConfig, assets: dict[Side, HandAsset]) -> None:
        self._labels, self._assets, self._crop_scale = frozenset(config.labels), assets, network.crop_scale
        self._annotated: list[LabelledImage] = []
        self.skipped: dict[str, int] = {}
        if config.root == INSTALLED:
            from ..synthetic.backgrounds import photo_files

            self._files = list(photo_files())
            return
        folder = Path(config.root).expanduser()
        if not folder.is_dir():
            raise DatasetError(f"photographs: the folder {folder} does not exist")
        if files := annotation_files(config):
            photos = [photo for file in files for photo in read_coco_hands(folder, file)]
            self._annotated = [dataclasses.replace(photo, supervision=self._labels) for photo in photos]
        elif self._labels:
            raise DatasetError(
                f"photographs: there is no COCO-style .json file with labels in {folder}; name one as annotations"
            )
        self._files = photograph_files(config.root)
        if not self.has_images:
            raise DatasetError(
                f"photographs: there is no image ({', '.join(IMAGE_SUFFIXES)}) in {folder} or its subfolders"
            )

    @property
    def has_images(self) -> bool:
        return bool(self._annotated or self._files)

    def draw(self, rng: np.random.Generator, maker: ExampleMaker) -> tuple[ImageExample | None, list[Skipped]]:
        photo = self._annotated[int(rng.integers(len(self._annotated)))] if self._annotated else None
        name = photo.name if photo else str(self._files[int(rng.integers(len(self._files)))])
        try:
            if photo is not None and self._labels:
                return _labelled_example(photo, PHOTOGRAPHS, self._assets, rng, maker)
            pixels = photo.load_image() if photo else load_image(name)
        except (OSError, InputError) as error:
            return None, [Skipped("photographs: image that cannot be read", f"{name}: {error}")]
        crop = self._crop_anywhere(pixels, rng) if photo is None else _crop_around(photo, pixels, rng)
        if crop is not None:
            return maker.unlabelled(name, pixels, crop), []
        if photo is None:
            return None, [Skipped("photographs: image that is too small", name)]
        return None, [Skipped("photographs: hand with too few keypoints, outside the image or too small", name)]

    def _crop_anywhere(self, pixels: np.ndarray, rng: np.random.Generator) -> CropBox | None:
        height, width = pixels.shape[:2]
        if min(height, width) < _MIN_PHOTO_CROP:
            return None
        side = _MIN_PHOTO_CROP * (min(height, width) / _MIN_PHOTO_CROP) ** rng.random()
        middle = side / 2 + rng.random(2) * (np.array([width, height]) - side)
        half = side / self._crop_scale / 2
        return CropBox(np.concatenate([middle - half, middle + half]), float(rng.uniform(-np.pi, np.pi)))


def _crop_around(photo: LabelledImage, pixels: np.ndarray, rng: np.random.Generator) -> CropBox | None:
    """A crop of the annotated hand at any turn, so that the landmark network's features are kept there, too; None if it
    shows nothing."""
    turn = float(rng.uniform(-np.pi, np.pi))
    (hand,) = photo.hands
    if hand.keypoints is None or hand.known_keypoints.sum() < 2:
        return None
    box = rotated_square(hand.keypoints, turn)
    side = (box[2:] - box[:2]).max()
    middle = (box[:2] + box[2:]) / 2 + rng.uniform(-0.2, 0.2, 2) * side
    half = side / 2 * 1.3 ** rng.uniform(-1, 1)
    crop = CropBox(np.concatenate([middle - half, middle + half]), turn)
    camera = Camera.guess(pixels.shape[1], pixels.shape[0])
    return crop if crop.side >= MIN_BOX_SIDE and usable_boxes(camera, crop.box).all() else None
