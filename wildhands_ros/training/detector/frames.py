"""Renders frames for the detector's training, and augments frames."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ...datasets.detector_frames import Frame, detector_frame
from ...synthetic.config import WorldConfig
from ...synthetic.frames import make_frame
from ...synthetic.image_effects import photometrically_changed
from ...synthetic.labelled_frames import label_frame

CANVAS = 384
"""Side in pixels of the square that a stored frame fits into; a training image is a window of it."""
WIDTH, HEIGHT = 288, 224
"""Size of a training image in pixels."""


def drawn(config: WorldConfig, indices: Iterator[int]) -> Iterator[Frame]:
    """Render frames of the world, reduced to at most CANVAS pixels."""
    for index in indices:
        scene = make_frame(config, index)
        scale = CANVAS / max(scene.camera.width, scene.camera.height)
        size = round(scene.camera.width * scale), round(scene.camera.height * scale)
        yield detector_frame(label_frame(scene, *size))


def augmented(frame: Frame, rng: np.random.Generator) -> Frame:
    """Make a (HEIGHT, WIDTH, 3) training image: a random window of the frame, with random reflection, small turn and
    colours."""
    height, width = frame.image.shape[:2]
    # From the whole frame with a margin to a part of it at twice the size.
    zoom = min(WIDTH / width, HEIGHT / height) * np.exp(rng.uniform(np.log(0.7), np.log(2.0)))
    turn = np.radians(rng.normal(0, 6))
    place, target = np.array([width, height]) / 2, np.array([WIDTH, HEIGHT]) / 2
    if frame.counts.any() and rng.random() < 0.5:
        # Place one of the hands anywhere in the image.
        chosen = frame.boxes[rng.choice(np.flatnonzero(frame.counts))]
        place, target = (chosen[:2] + chosen[2:]) / 2, rng.uniform(0.1, 0.9, 2) * (WIDTH, HEIGHT)
    else:
        slack = np.maximum(zoom * np.array([width, height]) - (WIDTH, HEIGHT), 0) / 2 + 0.08 * WIDTH
        target = target + rng.uniform(-1, 1, 2) * slack
    return window(frame, zoom, turn, place, target, (WIDTH, HEIGHT), 0.02, rng)


def window(
    frame: Frame,
    zoom: float,
    turn: float,
    place: np.ndarray,
    target: np.ndarray,
    size: tuple[int, int],
    min_shown: float,
    rng: np.random.Generator,
) -> Frame:
    """Cut a window out of a frame, reflected by chance and with random colours.

    Args:
        frame: The frame.
        zoom: Scale factor.
        turn: Radians by which the content is turned.
        place: (2,) point of the frame that is moved to ``target``.
        target: (2,) point of the window.
        size: Width and height of the window.
        min_shown: Hands that count are dropped if a smaller fraction of their box lies in the window.
        rng: Random numbers.
    """
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1.0])
    affine = np.column_stack([linear, target - linear @ place])
    source = frame.image if zoom > 0.6 else cv2.GaussianBlur(frame.image, (0, 0), 0.4 / zoom)
    image = cv2.warpAffine(source, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    corners = np.stack(
        [frame.boxes[:, [0, 1]], frame.boxes[:, [2, 1]], frame.boxes[:, [0, 3]], frame.boxes[:, [2, 3]]], axis=1
    )
    corners = corners @ linear.T + affine[:, 2]
    whole = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes = np.clip(whole, 0, [*size, *size])
    share = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / np.maximum((whole[:, 2:] - whole[:, :2]).prod(axis=1), 1e-6)
    # What is to be ignored may be as large as the frame, of which a window shows little.
    inside = (share > min_shown) | (~frame.counts & (share > 0))
    return Frame(
        photometrically_changed(image, rng),
        boxes[inside],
        (1 - frame.right if mirror < 0 else frame.right)[inside],
        (frame.up @ (linear / zoom).T)[inside],
        (frame.counts & (share > 0.45) & ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) > 7))[inside],
    )
