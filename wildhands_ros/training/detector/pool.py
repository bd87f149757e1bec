"""Images for the detector's training: rendered once, stored in the cache folder, and augmented anew in each step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ... import versions
from ...datasets.detector_frames import Frame
from ...io.cache_files import cached_output, is_cached, own_cache_folder
from ...io.cache_key import cache_key
from ...network.network_file import DEFAULT_DETECTOR
from ...runtime.processes import in_processes
from ...runtime.threads import available_cpus
from ...synthetic.backgrounds import photo_files
from ...synthetic.config import WorldConfig, world_config
from ...synthetic.disturbances import NONE, Disturbances
from ..randomness import generator
from . import frames, second_stage
from .real_images import RealImages


@dataclass(frozen=True)
class Kind:
    """A kind of training images."""

    size: tuple[int, int]
    """Width and height of a training image."""
    drawn: Callable[[WorldConfig, Iterator[int]], Iterator[Frame]]
    """Makes the stored images from the scenes with the given numbers."""
    cut: Callable[[Frame, np.random.Generator], Frame]
    """Augments a stored image to a training image."""
    weights: tuple[Path, ...] = ()
    """Weight files that ``drawn`` depends on."""


KINDS = {
    "frames": Kind((frames.WIDTH, frames.HEIGHT), frames.drawn, frames.augmented),
    "second_stage": Kind(
        (second_stage.SIDE, second_stage.SIDE), second_stage.drawn, second_stage.augmented, (DEFAULT_DETECTOR,)
    ),
}
_CHUNK = 64
_SCENES = 1_000_000
"""Scene numbers reserved for each file, more than it can need, so that no two files show the same scene."""
_QUALITY = 95
_LABEL_COLUMNS = 8


class FramePool:
    """Images of the synthetic world, rendered if they are missing; ``pool[step]`` is the batch of that step, from 1
    on."""

    def __init__(
        self,
        kind: str,
        world: str,
        seed: int,
        pool: int,
        batch_size: int,
        real: RealImages | None = None,
        real_share: float = 0.0,
        disturb: Disturbances = NONE,
    ) -> None:
        """
        Args:
            kind: A key of ``KINDS``.
            world: Preset of the synthetic world.
            seed: Of the world and of the order.
            pool: Number of stored images.
            batch_size: Images per step.
            real: Source of photographs.
            real_share: Their share of each batch.
            disturb: How the rendered images are disturbed.

        Raises:
            ValueError: The world is unknown.
            OSError: The cache folder cannot be written.
        """
        self.size = KINDS[kind].size
        self._kind, self._seed, self._count, self._disturb = kind, seed, pool, disturb
        self._real, self._real_count = real, round(real_share * batch_size) if real is not None else 0
        self._rendered_count = batch_size - self._real_count
        self._paths = _make(kind, world, seed, -(-pool // _CHUNK))

    def __getitem__(self, step: int) -> list[Frame]:
        places = [(step - 1) * self._rendered_count + place for place in range(self._rendered_count)]
        rendered = [self._cut(place) for place in places]
        if self._real is None:
            return rendered
        return rendered + [self._real(generator(self._seed, 2, step, place)) for place in range(self._real_count)]

    def _cut(self, place: int) -> Frame:
        rng = generator(self._seed, 1, place)
        frame = self._frame(int(_order(self._seed, place // self._count, self._count)[place % self._count]))
        return KINDS[self._kind].cut(self._disturb(frame, rng), rng)

    def _frame(self, number: int) -> Frame:
        jpegs, jpeg_starts, labels, starts = _loaded(self._paths[number // _CHUNK])
        place = number % _CHUNK
        bgr = cv2.imdecode(jpegs[jpeg_starts[place] : jpeg_starts[place + 1]], cv2.IMREAD_COLOR)
        assert bgr is not None  # the pool encoded it
        rows = np.array(labels[starts[place] : starts[place + 1]])
        return Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), rows[:, :4], rows[:, 4], rows[:, 5:7], rows[:, 7] > 0)


def _make(kind: str, world: str, seed: int, chunks: int) -> list[Path]:
    weights = [sha256(path.read_bytes()).hexdigest() for path in KINDS[kind].weights]
    values = {
        "kind": kind,
        "world": world_config(world, "train", seed),
        "photos": [path.name for path in photo_files()],
        "weights": weights,
    }
    folder = own_cache_folder("frames", cache_key([versions.SYNTHETIC, versions.DETECTOR_EXAMPLES, values]))
    paths = [folder / f"{chunk:06d}.npz" for chunk in range(chunks)]
    missing = [chunk for chunk, path in enumerate(paths) if not is_cached(path)]
    if missing:
        workers = min(len(missing), available_cpus())
        made = in_processes(partial(_make_chunk, kind, world, seed, folder), missing, workers)
        for _ in tqdm(made, total=len(missing), unit="file", desc=kind, file=sys.stderr):
            pass
    return paths


def _make_chunk(kind: str, world: str, seed: int, folder: Path, chunk: int) -> None:
    jpegs, labels = [], []
    for frame in islice(KINDS[kind].drawn(world_config(world, "train", seed), count(chunk * _SCENES)), _CHUNK):
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        jpegs.append(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].ravel())
        rows = np.column_stack([frame.boxes, frame.right, frame.up, frame.counts]).astype(np.float32)
        labels.append(rows.reshape(-1, _LABEL_COLUMNS))
    with cached_output(folder / f"{chunk:06d}.npz") as path:
        np.savez(
            path,
            jpegs=np.concatenate(jpegs),
            jpeg_starts=_starts(jpegs),
            labels=np.concatenate(labels),
            starts=_starts(labels),
        )


def _starts(parts: list[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *map(len, parts)])


@cache
def _loaded(path: Path) -> tuple[np.ndarray, ...]:
    with np.load(path, allow_pickle=False) as file:
        return tuple(file[name] for name in ("jpegs", "jpeg_starts", "labels", "starts"))


@cache
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return generator(seed, 0, epoch).permutation(count)
