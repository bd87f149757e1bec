"""Features of the frozen trunk for images of a synthetic world, computed once and cached, so that training takes
minutes.

The cache does not depend on the variant of the network: the location of the crops is kept as geometry, from which each
variant computes its own encoding."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ... import versions
from ...datasets import Supervision
from ...geometry.camera import Camera
from ...hand_model.asset import open_hands
from ...io.cache_files import cached_output, is_cached
from ...io.cache_key import cache_key
from ...network.config import IMAGE_SIZE, MEDIAPIPE_HAND
from ...network.landmark_net import LandmarkNet
from ...network.mediapipe_weights import landmark_model_path
from ...runtime.processes import in_processes
from ...synthetic.backgrounds import photo_files
from ...synthetic.config import world_config
from ...training.config import WORLD_PREFIX, AugmentationConfig, SourceConfig
from ...training.examples import ExampleMaker, ImageExample
from ...training.randomness import generator
from ...training.sources import Source, open_source

MASK_SIZE = 112
"""Masks are compared at half the resolution of the crops, which takes a quarter of the time."""
MIN_MASK = 0.02
"""Minimum fraction of the crop that the visible part of a hand must cover."""

_CHUNK = 25
"""Images per file."""
_ATTEMPTS = 20
"""Number of draws without a visible hand after which a world counts as empty."""
_EXACT = AugmentationConfig(box_shift=0, box_scale=0, turn_degrees=0, colour=0)


@dataclass(frozen=True)
class FeatureRequest:
    """Identifies the features of a number of images of one world."""

    world: str
    """Name of a preset."""
    split: str
    num_images: int
    """Number of images."""
    augmented: bool
    """Whether crops are shifted, scaled, rotated and tinted at random, as in training."""
    images: bool
    """Whether features of the whole images are needed, too."""
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the cache: differs if the request, the world, its photographs, the versions or the trunk's weights
        differ."""
        world = world_config(self.world, self.split, self.seed)
        photos = [path.name for path in photo_files()] if world.photos else []
        trunk = hashlib.sha256(landmark_model_path().read_bytes()).hexdigest()
        values = {"request": self, "world": world, "photos": photos, "trunk": trunk}
        return f"{self.world}_{self.split}_{cache_key([versions.SYNTHETIC, versions.EXAMPLES, values])}"


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """H hands in N images; frames and units as in ``Targets``."""

    arrays: dict[str, np.ndarray]
    """Per hand: ``features`` (H, 1152, 7, 7) half precision, ``image_index``, ``is_right``, ``turn``, ``k`` (H, 3, 3)
    of the crop's pixels, ``corners`` (H, 4, 2) of the crop in pixels of the image, and the labels ``joints_2d``,
    ``joints_3d`` (MANO order), ``rotations``, ``betas``, ``translation``, ``grasp`` and ``mask`` (H, 112, 112). Per
    image: ``image_features``, if requested, ``camera_k``, ``camera_size``, ``camera_model``, ``camera_d``."""

    def __len__(self) -> int:
        return len(self.arrays["is_right"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def num_images(self) -> int:
        return len(self.arrays["camera_k"])

    def camera(self, example: int) -> Camera:
        d = self["camera_d"][example]
        width, height = self["camera_size"][example].tolist()
        return Camera(
            self["camera_k"][example],
            width,
            height,
            str(self["camera_model"][example]),
            d[np.isfinite(d)],
        )


def make_features(request: FeatureRequest, folder: Path, workers: int) -> Path:
    """Compute the features that are missing in the cache.

    Args:
        request: The features.
        folder: The root of the cache.
        workers: Number of processes.

    Returns:
        The folder that holds the features.

    Raises:
        OSError: The features cannot be written.
        ImportError: The trunk's weights are not installed.
        ValueError: The world is unknown or shows no hands.
    """
    folder = folder / "features" / request.key
    folder.mkdir(parents=True, exist_ok=True)
    missing = [start for start in range(0, request.num_images, _CHUNK) if not is_cached(_chunk_path(folder, start))]
    if missing:
        make = partial(_make_chunk, request, folder)
        counts = [min(_CHUNK, request.num_images - start) for start in missing]
        with tqdm(total=sum(counts), unit="image", desc=f"{request.world} {request.split}", file=sys.stderr) as bar:
            for count, _ in zip(counts, in_processes(make, missing, workers), strict=True):
                bar.update(count)
    return folder


def load_features(folder: Path, images: bool = False) -> FeatureSet:
    """Load what ``make_features`` computed, with the features of the whole images only if ``images``."""
    parts: dict[str, list[np.ndarray]] = {}
    num_images = 0
    for path in sorted(folder.glob("[0-9]*.npz")):
        with np.load(path, allow_pickle=False) as file:
            for name in file.files if images else set(file.files) - {"image_features"}:
                parts.setdefault(name, []).append(file[name] + num_images if name == "image_index" else file[name])
        num_images += len(parts["camera_k"][-1])
    return FeatureSet({name: np.concatenate(arrays) for name, arrays in parts.items()})


def _chunk_path(folder: Path, start: int) -> Path:
    return folder / f"{start:06d}.npz"


def _make_chunk(request: FeatureRequest, folder: Path, start: int) -> None:
    network = dataclasses.replace(MEDIAPIPE_HAND, full_image_trunk=request.images)
    source = open_source(
        SourceConfig(WORLD_PREFIX + request.world, split=request.split, labels=tuple(Supervision)),
        network,
        open_hands(),
        request.seed,
    )
    assert source is not None  # the world is part of the package
    maker = ExampleMaker(network, AugmentationConfig() if request.augmented else _EXACT, open_hands())
    rows: dict[str, list] = {}
    for number, place in enumerate(range(start, min(start + _CHUNK, request.num_images))):
        example = _draw(source, maker, request, place)
        _add_image(rows, example, number)
    arrays = {name: np.stack(values) for name, values in rows.items()}
    for name in ("crop", "image"):
        if name in arrays:
            arrays["features" if name == "crop" else "image_features"] = _trunk_features(arrays.pop(name))
    with cached_output(_chunk_path(folder, start)) as partial_file:
        np.savez(partial_file, **arrays)  # type: ignore[arg-type, unused-ignore]  # numpy 2: allow_pickle


def _draw(source: Source, maker: ExampleMaker, request: FeatureRequest, place: int) -> ImageExample:
    """Draw an image and keep the hands that are visible; draw again if there are none."""
    for attempt in range(_ATTEMPTS):
        example, _ = source.draw(generator(request.seed, place, attempt, int(request.augmented)), maker)
        if example is None:
            continue
        visible = [hand for hand in example.hands if hand.targets["mask"].mean() >= MIN_MASK]
        if visible:
            return dataclasses.replace(example, hands=visible)
    raise ValueError(f"the world {request.world} shows no hands: {_ATTEMPTS} images in a row had none that is visible")


def _add_image(rows: dict[str, list], example: ImageExample, number: int) -> None:
    def add(name: str, value) -> None:
        rows.setdefault(name, []).append(np.asarray(value))

    camera = example.camera
    add("camera_k", camera.k)
    add("camera_size", (camera.width, camera.height))
    add("camera_model", np.array(camera.distortion_model, "U24"))
    add("camera_d", np.concatenate([camera.d, np.full(8 - len(camera.d), np.nan)]))
    if example.image is not None:
        add("image", example.image)
    low, high = -0.5, IMAGE_SIZE - 0.5
    outer = np.array([(low, low), (low, high), (high, low), (high, high)])
    for hand in example.hands:
        affine = hand.affine
        add("crop", hand.crop)
        add("image_index", number)
        add("is_right", hand.is_right)
        add("turn", np.float32(hand.turn))
        add("k", hand.k.astype(np.float32))
        add("corners", (outer - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T)
        for name in ("joints_2d", "joints_3d", "rotations", "betas", "translation"):
            add(name, hand.targets[name].astype(np.float32))
        add("grasp", hand.targets["grasp"].astype(np.int64))
        size = IMAGE_SIZE // MASK_SIZE
        halves = hand.targets["mask"].astype(np.float32).reshape(MASK_SIZE, size, MASK_SIZE, size).mean(axis=(1, 3))
        add("mask", np.round(255 * halves).astype(np.uint8))


@torch.inference_mode()
def _trunk_features(images: np.ndarray) -> np.ndarray:
    """(N, 224, 224, 3) uint8 to (N, 1152, 7, 7) half precision."""
    batches: list[Tensor] = [
        _trunk()((part.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)).half()
        for part in torch.from_numpy(images).split(8)
    ]
    return torch.cat(batches).contiguous().numpy()


@cache
def _trunk() -> torch.nn.Module:
    return LandmarkNet.from_mediapipe().trunk.to(memory_format=torch.channels_last)
