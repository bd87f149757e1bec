"""Makes the hands of the detector's training images harder to recognise: worn things, motion blur, and image edges."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..datasets.detector_frames import Frame
from .image_effects import motion_blurred
from .worn_things import with_worn_things

_LEAST_LEFT, _MOST_LEFT = 0.25, 0.8
"""Shares of a hand's box that an image edge leaves."""
_COUNTS, _IGNORED = 0.2, 0.02
"""Shares of a box that must be left for the hand to be labelled, and to be left out of the losses instead of being
background."""
_MOVING = 0.75
"""Share of the hands of a chosen image that move."""
_SHORTEST, _LONGEST = 0.1, 0.45
"""Length of the motion blur relative to the longer side of the hand's box."""


@dataclass(frozen=True)
class Disturbances:
    """Shares of the images that are disturbed in each way."""

    worn: float = 0.0
    """Gloves, markers and devices are drawn on hands (see ``worn_things``)."""
    moving: float = 0.0
    """Hands are blurred by their motion."""
    cut: float = 0.0
    """An edge of the image cuts a hand."""

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Disturbs a frame by chance. A share of zero draws no random numbers."""
        if self.worn and rng.random() < self.worn:
            frame = replace(frame, image=with_worn_things(frame.image, frame.boxes, frame.counts, rng))
        if self.moving and rng.random() < self.moving:
            frame = with_moving_hands(frame, rng)
        if self.cut and rng.random() < self.cut:
            frame = cut_at_edge(frame, rng)
        return frame


NONE = Disturbances()
"""Leaves frames as they are."""


def with_moving_hands(frame: Frame, rng: np.random.Generator) -> Frame:
    """Blurs hands in a random direction, and the background beside them less and less with the distance."""
    image = frame.image.copy()
    height, width = image.shape[:2]
    for box in frame.boxes[frame.counts]:
        if rng.random() >= _MOVING:
            continue
        size = box[2:] - box[:2]
        length = rng.uniform(_SHORTEST, _LONGEST) * size.max()
        x0, y0 = np.maximum(box[:2] - 0.3 * size - length, 0).astype(int)
        x1, y1 = np.minimum(box[2:] + 0.3 * size + length, [width, height]).astype(int)
        part = image[y0:y1, x0:x1]
        if min(part.shape[:2]) < 4:
            continue
        rows, columns = np.mgrid[y0:y1, x0:x1]
        centre = (box[:2] + box[2:]) / 2
        # 1 inside the ellipse around the box; falls to 0 within about a quarter of its size.
        distance = np.hypot((columns - centre[0]) / size[0], (rows - centre[1]) / size[1])
        share = np.clip((0.95 - distance) / 0.3, 0, 1)[..., None]
        blurred = motion_blurred(part, length, rng.uniform(0, np.pi))
        image[y0:y1, x0:x1] = (share * blurred + (1 - share) * part).astype(np.uint8)
    return replace(frame, image=image)


def cut_at_edge(frame: Frame, rng: np.random.Generator) -> Frame:
    """Makes everything beyond a line through one of the hands black, as beyond the edge of an image.

    The boxes then enclose what is left. A hand of which hardly anything is left does not count.
    """
    if not frame.counts.any():
        return frame
    image = frame.image.copy()
    height, width = image.shape[:2]
    box = frame.boxes[rng.choice(np.flatnonzero(frame.counts))]
    axis, from_start = int(rng.integers(2)), rng.random() < 0.5
    left = rng.uniform(_LEAST_LEFT, _MOST_LEFT)
    line = round(box[axis] + (left if from_start else 1 - left) * (box[2 + axis] - box[axis]))
    shown = np.array([0.0, 0, width, height])
    shown[axis + 2 if from_start else axis] = line
    beyond = slice(line, None) if from_start else slice(0, line)
    image[(slice(None), beyond) if axis == 0 else (beyond,)] = 0
    boxes = np.clip(frame.boxes, np.tile(shown[:2], 2), np.tile(shown[2:], 2))
    share = _areas(boxes) / np.maximum(_areas(frame.boxes), 1e-6)
    kept = (share > _IGNORED) | ~frame.counts
    kept &= share > 0
    return Frame(image, boxes[kept], frame.right[kept], frame.up[kept], (frame.counts & (share > _COUNTS))[kept])


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
