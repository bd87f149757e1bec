"""The stream that everything is measured on: the demo clip, in which both hands are always in view, as a 720p camera would see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..io.camera_files import load_calibration
from ..io.sources import open_source

WIDTH, HEIGHT = 1280, 720
RATE = 30.0
"""Frames a second."""


@dataclass(frozen=True)
class Clip:
    frames: list[np.ndarray]
    """(720, 1280, 3) RGB uint8."""
    camera: Camera

    def endless(self) -> Iterator[np.ndarray]:
        """Forwards and backwards, so that hands never jump."""
        there_and_back = [*range(len(self.frames)), *range(len(self.frames) - 2, 0, -1)]
        while True:
            for i in there_and_back:
                yield self.frames[i]


def load_clip(folder: Path, frames: int = 60) -> Clip:
    """Takes the folder with clip.mp4 and camera_info.yaml, and how many frames to keep (2.8 MB each)."""
    camera, _ = load_calibration(folder / "camera_info.yaml").camera(WIDTH, HEIGHT, rectified=False)
    source = open_source(str(folder / "clip.mp4"))
    images = [cv2.resize(frame.image, (WIDTH, HEIGHT)) for frame, _ in zip(source, range(frames), strict=False)]
    return Clip(images, camera)
