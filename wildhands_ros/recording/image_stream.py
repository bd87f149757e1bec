"""What annotation reads: the images of one camera of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..estimator import DepthLookup
from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import Camera


@dataclass(frozen=True)
class StreamImage:
    """One image of a recording."""

    index: int
    """Number of the image in its stream, from 0; images that cannot be decoded are counted too."""
    stamp: float
    """Seconds."""
    image: np.ndarray
    """(H, W, 3) RGB uint8."""
    camera: Camera
    origin: IntrinsicsSource
    """Where the camera's intrinsics come from."""
    depth: DepthLookup | None = None
    """Returns the depth image of the same moment, or why there is none; None without a depth camera."""


@dataclass(frozen=True)
class UnreadableImage:
    """Stands in for an image that cannot be decoded."""

    index: int
    """Number of the image in its stream, from 0."""
    problem: str
    """One sentence."""


class ImageStream(Protocol):
    """The images of one camera of a recording."""

    @property
    def count(self) -> int | None:
        """Expected number of images; None if unknown."""
        ...

    @property
    def keeps_jpegs(self) -> bool:
        """Whether annotation keeps the images as JPEGs: those of a video are not in a bag yet."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """Other problems, one sentence each; complete after the last image."""
        ...

    def images(self, wanted: Callable[[int], bool]) -> Iterator[StreamImage | UnreadableImage]:
        """Yields the images whose index is ``wanted``, in order."""
        ...


OpenStream = Callable[[], AbstractContextManager[ImageStream]]
