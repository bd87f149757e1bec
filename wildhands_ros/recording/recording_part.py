"""A part of a recording, estimated by one process: segments that do not depend on who estimates them.

The estimator remembers earlier frames, so a process that begins in the middle must forget as much as one that did not: each segment is
begun with a fresh estimator a few frames early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ..config import EstimatorConfig
from ..estimator import Estimator
from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import Camera
from ..io.images import encode_image
from .jpegs import save_jpegs
from .segments import Annotated, Segment, save


@dataclass(frozen=True)
class StreamFrame:
    """One picture of a recording."""

    index: int
    """From 0; pictures that cannot be decoded have a number as well."""
    stamp: float
    """Seconds."""
    image: np.ndarray
    """(H, W, 3) RGB uint8."""
    camera: Camera
    origin: IntrinsicsSource


class Unreadable(NamedTuple):
    """In place of a picture that cannot be decoded."""

    index: int
    problem: str
    """One sentence."""


class Stream(Protocol):
    """The pictures of one camera of a recording."""

    count: int | None
    """How many to expect."""
    wants_jpegs: bool
    """Whether the pictures are kept as JPEGs beside their estimates: those of a video are in no bag yet."""
    problems: Sequence[str]
    """What else could not be read, one sentence each, once ``frames`` has come to its end."""

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[StreamFrame | Unreadable]:
        """Those with the ``wanted`` numbers, in order."""
        ...


class Part(NamedTuple):
    """What one process estimates."""

    segments: tuple[int, ...]
    """Their numbers, rising."""
    to_the_end: bool
    """Whether all that comes behind them belongs to it, too."""
    length: int
    """Frames of a segment."""
    warm_up: int
    """Frames before a segment that its estimator has seen, too."""


OpenStream = Callable[[], AbstractContextManager[Stream]]


def estimate_part(folder: Path, open_stream: OpenStream, config: EstimatorConfig, part: Part) -> None:
    """The work of one process: the segments of its part that are not there yet."""

    @cache
    def is_missing(number: int) -> bool:
        return (number in part.segments or (part.to_the_end and number > part.segments[-1])) and not segment_path(
            folder, number
        ).is_file()

    def leads_to(index: int) -> int:
        """The segment that this frame is in, or warms up for."""
        return (index + part.warm_up) // part.length

    estimator = _estimator(config)
    last = None if part.to_the_end else (part.segments[-1] + 1) * part.length - 1
    before: list[StreamFrame] = []
    with open_stream() as stream:
        found = stream.frames(lambda index: is_missing(index // part.length) or is_missing(leads_to(index)))
        for number, frames in groupby(_up_to(found, last), lambda frame: frame.index // part.length):
            segment = Segment(_warmed_up(estimator, before) if is_missing(number) else [], [])
            before, jpegs = [], []
            for frame in frames:
                if isinstance(frame, Unreadable):
                    segment.problems.append(frame.problem)
                    continue
                if is_missing(number):
                    segment.frames.append(_estimate(estimator, frame))
                    if stream.wants_jpegs:
                        jpegs.append(encode_image(frame.image, ".jpg"))
                if leads_to(frame.index) != number:
                    before.append(frame)
            if is_missing(number):
                segment.problems.extend(stream.problems)
                path = segment_path(folder, number)
                if stream.wants_jpegs:
                    save_jpegs(jpegs_path(path), jpegs)
                save(path, segment)  # last: a segment that is there is complete


def _up_to(frames: Iterator[StreamFrame | Unreadable], last: int | None) -> Iterator[StreamFrame | Unreadable]:
    for frame in frames:
        yield frame
        if frame.index == last:
            return


@lru_cache(maxsize=1)
def _estimator(config: EstimatorConfig) -> Estimator:
    """One for all the parts that a process works on."""
    return Estimator(config)


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npz"


def jpegs_path(segment: Path) -> Path:
    """Of the pictures of the segment with this path."""
    return segment.with_name(f"jpegs_{segment.name}")


def _warmed_up(estimator: Estimator, before: list[StreamFrame]) -> list[Annotated]:
    """A fresh estimator that has seen the frames before; returns its estimate of the last of them."""
    estimator.reset()
    return [_estimate(estimator, frame) for frame in before][-1:]


def _estimate(estimator: Estimator, frame: StreamFrame) -> Annotated:
    return Annotated(frame.index, frame.stamp, frame.origin, estimator(frame.image, frame.camera, frame.stamp))
