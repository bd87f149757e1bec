"""The stream of the benchmarks: the demo clip at 720p, in which both hands are always in view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..io.camera_files import load_calibration
from ..io.sources import open_source

T = TypeVar("T")

WIDTH, HEIGHT = 1280, 720
RATE = 30.0
"""Frames per second."""


@dataclass(frozen=True)
class Clip:
    """Images and their camera."""

    frames: list[np.ndarray]
    """Each (720, 1280, 3) RGB uint8."""
    camera: Camera

    def endless(self) -> Iterator[np.ndarray]:
        """Yields the frames for ever, forwards and backwards."""
        yield from back_and_forth(self.frames)


def back_and_forth(items: Sequence[T]) -> Iterator[T]:
    """Yields the items for ever, forwards and backwards, so that hands in them never jump."""
    order = [*range(len(items)), *range(len(items) - 2, 0, -1)]
    while True:
        for i in order:
            yield items[i]


def load_clip(folder: Path, frames: int = 60) -> Clip:
    """Loads the clip.

    Args:
        folder: contains clip.mp4 and camera_info.yaml.
        frames: number of frames to load; each takes 2.8 MB.
    """
    camera, _ = load_calibration(folder / "camera_info.yaml").camera(WIDTH, HEIGHT, rectified=False)
    source = open_source(str(folder / "clip.mp4"))
    images = [cv2.resize(frame.image, (WIDTH, HEIGHT)) for frame, _ in zip(source, range(frames), strict=False)]
    return Clip(images, camera)
