"""Features of the frozen trunk for pictures of a synthetic world, computed once and kept on disk: training then takes minutes.

What is kept does not depend on a variant of the network: where the crops lie is kept as geometry, from which each variant takes its own
encoding.
"""

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
from ...io.cache_key import cache_key
from ...io.files import OutputFile
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
"""Masks are compared at half the crops' resolution, which takes a quarter of the time."""
LEAST_MASK = 0.02
"""Share of the crop that a hand's visible part must cover."""

_CHUNK = 25
"""Pictures in a file."""
_ATTEMPTS = 20
"""Draws after which a world is taken to show no hands."""
_EXACT = AugmentationConfig(box_shift=0, box_scale=0, turn_degrees=0, colour=0)


@dataclass(frozen=True)
class FeatureRequest:
    """Pictures of one world."""

    world: str
    """A preset."""
    split: str
    pictures: int
    augmented: bool
    """Whether crops are shifted, scaled, turned and tinted at random, as in training."""
    images: bool
    """Whether features of the whole pictures are wanted, too."""
    seed: int = 0

    @property
    def key(self) -> str:
        """Changes with anything that changes the features: this request, the world, its photographs, the code and the trunk's weights."""
        world = world_config(self.world, self.split, self.seed)
        photos = [path.name for path in photo_files()] if world.photos else []
        trunk = hashlib.sha256(landmark_model_path().read_bytes()).hexdigest()
        values = {"request": self, "world": world, "photos": photos, "trunk": trunk}
        return f"{self.world}_{self.split}_{cache_key([versions.SYNTHETIC, versions.EXAMPLES, values])}"


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """H hands in N pictures. Frames and units as in ``Targets``."""

    arrays: dict[str, np.ndarray]
    """Of hands: ``features`` (H, 1152, 7, 7) half precision, ``image_index``, ``is_right``, ``turn``, ``k`` (H, 3, 3) of the crop's
    pixels, ``corners`` (H, 4, 2) of the crop in the picture's pixels, and the labels ``joints_2d``, ``joints_3d`` (MANO order),
    ``rotations``, ``betas``, ``translation``, ``grasp`` and ``mask`` (H, 112, 112). Of pictures: ``image_features``, where wanted,
    ``camera_k``, ``camera_size``, ``camera_model``, ``camera_d``."""

    def __len__(self) -> int:
        return len(self.arrays["is_right"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def num_pictures(self) -> int:
        return len(self.arrays["camera_k"])

    def camera(self, picture: int) -> Camera:
        d = self["camera_d"][picture]
        return Camera(
            self["camera_k"][picture],
            *self["camera_size"][picture].tolist(),
            str(self["camera_model"][picture]),
            d[np.isfinite(d)],
        )


def make_features(request: FeatureRequest, folder: Path, workers: int) -> Path:
    """The folder below ``folder`` that holds the features, after files of it that are missing have been made.

    Raises OSError where they cannot be written, ImportError where the trunk's weights are not installed, ValueError for an unknown world.
    """
    folder = folder / "features" / request.key
    folder.mkdir(parents=True, exist_ok=True)
    missing = [start for start in range(0, request.pictures, _CHUNK) if not _chunk_path(folder, start).exists()]
    if missing:
        make = partial(_make_chunk, request, folder)
        counts = [min(_CHUNK, request.pictures - start) for start in missing]
        with tqdm(total=sum(counts), unit="picture", desc=f"{request.world} {request.split}", file=sys.stderr) as bar:
            for count, _ in zip(counts, in_processes(make, missing, workers), strict=True):
                bar.update(count)
    return folder


def load_features(folder: Path, images: bool = False) -> FeatureSet:
    """What ``make_features`` has made; ``images``: with the features of the whole pictures, which few need."""
    parts: dict[str, list[np.ndarray]] = {}
    pictures = 0
    for path in sorted(folder.glob("[0-9]*.npz")):
        with np.load(path, allow_pickle=False) as file:
            for name in file.files if images else set(file.files) - {"image_features"}:
                parts.setdefault(name, []).append(file[name] + pictures if name == "image_index" else file[name])
        pictures += len(parts["camera_k"][-1])
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
    maker = ExampleMaker(network, AugmentationConfig() if request.augmented else _EXACT, open_hands())
    rows: dict[str, list] = {}
    for number, place in enumerate(range(start, min(start + _CHUNK, request.pictures))):
        picture = _draw(source, maker, request, place)
        _add_picture(rows, picture, number)
    arrays = {name: np.stack(values) for name, values in rows.items()}
    for name in ("crop", "image"):
        if name in arrays:
            arrays["features" if name == "crop" else "image_features"] = _trunk_features(arrays.pop(name))
    with OutputFile(_chunk_path(folder, start)) as partial_file:
        np.savez(partial_file, **arrays)


def _draw(source: Source, maker: ExampleMaker, request: FeatureRequest, place: int) -> ImageExample:
    """Only with hands that can be seen."""
    for attempt in range(_ATTEMPTS):
        picture, _ = source.draw(generator(request.seed, place, attempt, int(request.augmented)), maker)
        seen = [] if picture is None else [hand for hand in picture.hands if hand.targets["mask"].mean() >= LEAST_MASK]
        if seen:
            return dataclasses.replace(picture, hands=seen)
    raise ValueError(f"the world {request.world} shows no hands: {_ATTEMPTS} pictures in a row had none")


def _add_picture(rows: dict[str, list], picture: ImageExample, number: int) -> None:
    def add(name: str, value) -> None:
        rows.setdefault(name, []).append(np.asarray(value))

    camera = picture.camera
    add("camera_k", camera.k)
    add("camera_size", (camera.width, camera.height))
    add("camera_model", np.array(camera.distortion_model, "U24"))
    add("camera_d", np.concatenate([camera.d, np.full(8 - len(camera.d), np.nan)]))
    if picture.image is not None:
        add("image", picture.image)
    low, high = -0.5, IMAGE_SIZE - 0.5
    outer = np.array([(low, low), (low, high), (high, low), (high, high)])
    for hand in picture.hands:
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
def _trunk_features(pictures: np.ndarray) -> np.ndarray:
    """(N, 224, 224, 3) uint8 to (N, 1152, 7, 7) half precision."""
    batches: list[Tensor] = [
        _trunk()((part.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)).half()
        for part in torch.from_numpy(pictures).split(8)
    ]
    return torch.cat(batches).contiguous().numpy()


@cache
def _trunk() -> torch.nn.Module:
    return LandmarkNet.from_mediapipe().trunk.to(memory_format=torch.channels_last)
