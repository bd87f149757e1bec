"""Implements ``wildhands calibrate-hand --images``: measures a flat hand beside an object of known size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..detection.reference_objects import find_marker, find_sheet
from ..estimator import Estimator
from ..fitting.flat_hand import flat_hand_length
from ..geometry.camera import Camera
from ..io.camera_files import Intrinsics
from ..io.hand_files import save_hand
from ..io.images import load_image
from ..io.progress import LOADING, busy, say
from ..types import FrameEstimate, HandLength, Side

LEAST_STDDEV = 0.015
"""Standard deviation of the mean of many photographs as a fraction: they have errors in common."""


def measure_photos(name: str, side: Side, paths: Sequence[Path], intrinsics: Intrinsics, marker: float | None) -> int:
    """Measures a hand in photographs and saves its length. Returns the exit code.

    Args:
        name: Name of the person.
        side: Side of the hand.
        paths: The photographs.
        intrinsics: Source of the camera's intrinsics.
        marker: Side of the marker in metres; None for a sheet of A4 paper.

    Raises:
        ValueError: A photograph does not show one flat hand and the object.
    """
    lengths: list[float] = []
    with busy(LOADING):
        estimator = Estimator()
    for path in paths:
        image = load_image(path)
        try:
            camera, _ = intrinsics.camera(image.shape[1], image.shape[0])
            lengths.append(measure_photo(estimator, image, camera, marker).metres)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        say(f"{path}: {1000 * lengths[-1]:.0f} mm")
    mean = float(np.median(lengths))
    stddev = mean * max(0.03 / np.sqrt(len(lengths)), LEAST_STDDEV)
    print(save_hand(name, {side: HandLength(mean, stddev)}))
    return 0


def measure_photo(
    estimator: Callable[[np.ndarray, Camera], FrameEstimate], image: np.ndarray, camera: Camera, marker: float | None
) -> HandLength:
    """Measures the hand in a photograph.

    Raises:
        ValueError: It does not show one flat hand and the object of known size.
    """
    table = find_sheet(image, camera) if marker is None else find_marker(image, camera, marker)
    hands = [hand for hand in estimator(image, camera).hands if hand.keypoints is not None]
    if len(hands) != 1:
        raise ValueError(f"there must be one hand in the photograph, not {len(hands)}")
    keypoints = hands[0].keypoints
    assert keypoints is not None
    return flat_hand_length(camera.rays(keypoints), table)
