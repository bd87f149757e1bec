"""Real photographs for the detector's training, beside the rendered images.

They come from a folder of boxed images (``datasets.real_images``). Images without a stated licence, in the splits
"validation" and "test", or in ``evaluate_only`` are not used. An image in which some hands may have no box teaches what
a hand is, but not what is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from ...datasets.detector_frames import Frame
from ...datasets.real_images.reader import BoxedImage, read_boxed_images
from ...io.images import load_image
from ...synthetic.disturbances import NONE, Disturbances
from ...synthetic.image_effects import blurred_by_chance
from . import frames, second_stage
from .frames import HEIGHT, WIDTH, window

_HEAD_MOUNTED, _HEAD_MOUNTED_WEIGHT = "head", 3.0
"""What the network is made for, and of which there are few images, is shown this much more often."""
_EVENNESS = 0.25
"""Exponent of a source's number of images in its share of the training: 1 would show all images equally often, 0 all
sources."""
_COLLAGES = 0.4
"""Share of the whole frames that are collages of four images: small hands, and several of them."""
_HANDS, _NEAR_HANDS = 0.45, 0.15
"""Shares of second-stage crops around a hand and beside one; the others show false positives of the first stage or, if
there are none, a random place."""
_MIN_SHOWN = 0.02


class RealImages:
    """Makes training images from photographs.

    Args:
        folder: Folder of boxed images.
        kind: ``frames`` or ``second_stage``, see ``DetectorTrainingConfig.images``.
        disturb: How the photographs are disturbed.
        self_labels: File of ``datasets.real_images.self_labels`` with labels of further images of the folder.

    Raises:
        ValueError: The folder has no annotations or no image for training.
        OSError: An annotation file cannot be read.
    """

    def __init__(self, folder: Path, kind: str, disturb: Disturbances = NONE, self_labels: Path | None = None) -> None:
        known = read_boxed_images(folder).images
        if self_labels is not None:
            known += read_boxed_images(folder, self_labels).images
        boxed = [image for image in known if image.is_for_training and image.hands_boxed]
        images = [image for image in boxed if image.hands_complete or image.hands]
        if not images:
            raise ValueError(
                f"{folder}: there is no image for training: it must have boxes (hands_boxed), a licence (a row of "
                "LICENCES.md), and must not belong to validation or test"
            )
        self._images, self._disturb = images, disturb
        self._cumulated = np.cumsum(_weights(images))
        self._make: Callable[[np.random.Generator], Frame] = (
            self._second_stage_crop if kind == "second_stage" else self._whole_frame
        )

    def __len__(self) -> int:
        return len(self._images)

    def __call__(self, rng: np.random.Generator) -> Frame:
        """Return a random, augmented training image.

        Raises:
            ValueError, OSError: A photograph cannot be read.
        """
        frame = self._make(rng)
        return replace(frame, image=blurred_by_chance(frame.image, rng))

    def _drawn(self, rng: np.random.Generator) -> BoxedImage:
        return self._images[int(np.searchsorted(self._cumulated, rng.uniform(0, self._cumulated[-1]), side="right"))]

    def _whole_frame(self, rng: np.random.Generator) -> Frame:
        if rng.random() >= _COLLAGES:
            return frames.augmented(self._disturb(_frame(self._drawn(rng)), rng), rng)
        return collage([self._disturb(_frame(self._drawn(rng)), rng) for _ in range(4)], rng)

    def _second_stage_crop(self, rng: np.random.Generator) -> Frame:
        image = self._drawn(rng)
        frame = _frame(image)
        mistakes = _mistakes(image.path, tuple(map(tuple, frame.boxes))) if image.hands_complete else ()
        frame = self._disturb(frame, rng)
        height, width = frame.image.shape[:2]
        hands = np.flatnonzero(frame.counts)
        kind = rng.random()
        if len(hands) and (kind < _HANDS + _NEAR_HANDS or not image.hands_complete):
            box = frame.boxes[rng.choice(hands)]
            spread = 0.12 if kind < _HANDS else 0.5
        elif mistakes:
            box, spread = np.array(mistakes[rng.integers(len(mistakes))]), 0.12
        else:
            centre, half = rng.uniform(0, 1, 2) * (width, height), np.exp(rng.uniform(-3.2, -1.4)) * width
            box, spread = np.concatenate([centre - half, centre + half]), 0.0
        size = (box[2:] - box[:2]).max()
        centre = (box[:2] + box[2:]) / 2 + size * rng.normal(0, spread, 2)
        half = size / 2 * np.exp(rng.normal(0, 0.15))
        crop = second_stage.crop_around(frame, np.concatenate([centre - half, centre + half]))
        return second_stage.augmented(crop, rng)


def collage(parts: Sequence[Frame], rng: np.random.Generator) -> Frame:
    """Put four frames into the quarters of one training image, each about as large as its quarter."""
    size = WIDTH // 2, HEIGHT // 2
    cut = []
    for part in parts:
        height, width = part.image.shape[:2]
        zoom = max(size[0] / width, size[1] / height) * np.exp(rng.uniform(np.log(0.7), np.log(1.6)))
        slack = np.maximum(zoom * np.array([width, height]) - size, 0) / 2
        target = np.array(size) / 2 + rng.uniform(-1, 1, 2) * slack
        middle = np.array([width, height]) / 2
        cut.append(window(part, zoom, np.radians(rng.normal(0, 6)), middle, target, size, _MIN_SHOWN, rng))
    corners = np.array([(0, 0), (size[0], 0), (0, size[1]), size], float)
    return Frame(
        np.vstack([np.hstack([cut[0].image, cut[1].image]), np.hstack([cut[2].image, cut[3].image])]),
        np.concatenate([part.boxes + np.tile(corner, 2) for part, corner in zip(cut, corners, strict=True)]),
        np.concatenate([part.right for part in cut]),
        np.concatenate([part.up for part in cut]),
        np.concatenate([part.counts for part in cut]),
    )


def _weights(images: Sequence[BoxedImage]) -> np.ndarray:
    sources = [image.source for image in images]
    return np.array(
        [
            sources.count(image.source) ** (_EVENNESS - 1)
            * (_HEAD_MOUNTED_WEIGHT if image.egocentric == _HEAD_MOUNTED else 1.0)
            for image in images
        ]
    )


def _frame(image: BoxedImage) -> Frame:
    """Return the photograph and its labels. Where hands may lack boxes, everything else is ignored."""
    pixels = image.load()
    height, width = pixels.shape[:2]
    count = len(image.hands)
    frame = Frame(
        pixels,
        np.array([hand.box for hand in image.hands], float).reshape(-1, 4),
        np.array([np.nan if hand.side is None else float(hand.side.value == "right") for hand in image.hands]),
        np.zeros((count, 2)),
        np.array([not hand.ignore for hand in image.hands], bool),
    )
    if image.hands_complete:
        return frame
    return Frame(
        pixels,
        np.vstack([frame.boxes, [[0, 0, width, height]]]),
        np.append(frame.right, np.nan),
        np.vstack([frame.up, [[0, 0]]]),
        np.append(frame.counts, False),
    )


@cache
def _mistakes(path: Path, boxes: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """Return the boxes of the first stage's false positives in a completely boxed photograph."""
    found = second_stage.mistakes(load_image(path), np.array(boxes).reshape(-1, 4))
    return tuple(tuple(box.tolist()) for box in found)
