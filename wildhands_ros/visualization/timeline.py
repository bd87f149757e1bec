"""Draws the timeline of an annotated recording: which estimates are usable, and plots of the hands over time."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..recording.report import COLOURS, MISSING, Recording
from ..types import Side
from .overlay import SIDE_COLOURS

WIDTH = 640
LEFT = 104
"""Pixels for the names on the left."""
ROW, PLOT, GAP = 22, 80, 8
"""Heights in pixels of a row of masks, of a plot, and of the space below each of them."""
LONGEST_STEP = 0.3
"""Seconds between two estimates up to which a plot connects them."""
FASTEST = 3.0
"""m/s; the plot of the speed ends here, so that a jump does not flatten the rest."""
BACKGROUND, TEXT, CURSOR = (30, 30, 32), (220, 220, 220), (255, 235, 90)


class Timeline:
    """The timeline of a recording as an image, drawn once; only the cursor moves."""

    def __init__(self, recording: Recording):
        self._stamps = recording.stamps
        distances = {side: _values(recording, side, lambda hand: hand.distance) for side in Side}
        speeds = {side: _speeds(recording, side) for side in Side}
        visible = {side: _values(recording, side, lambda hand: hand.visibility) for side in Side}
        # Right hands are drawn last, and legends first.
        rows = [self._masks(recording, side) for side in Side] + [
            self._plot("distance", "m", distances, None),
            self._plot("speed", "m/s", speeds, FASTEST),
            self._plot("visibility", "", visible, 1.0),
        ]
        self._image = np.concatenate([np.pad(row, ((0, GAP), (0, 0), (0, 0))) for row in rows])
        self._image[(self._image == 0).all(axis=-1)] = BACKGROUND

    def at(self, number: int) -> np.ndarray:
        """Returns the (H, WIDTH, 3) uint8 RGB image with the cursor at a frame."""
        image = self._image.copy()
        x = int(self._columns(self._stamps[number : number + 1])[0])
        cv2.line(image, (x, 0), (x, len(image)), CURSOR, 1)
        return image

    def _columns(self, stamps: np.ndarray) -> np.ndarray:
        return LEFT + stamps / max(self._stamps[-1], 1e-9) * (WIDTH - LEFT - 1)

    def _masks(self, recording: Recording, side: Side) -> np.ndarray:
        """Returns a strip with a colour for each frame."""
        colours = [_rgb(COLOURS[MISSING if hand is None else hand.kind]) for hand in recording.of_side(side)]
        row = np.zeros((ROW, WIDTH, 3), np.uint8)
        moments = np.linspace(0, self._stamps[-1], WIDTH - LEFT)
        after = np.clip(np.searchsorted(self._stamps, moments), 0, len(colours) - 1)
        row[:, LEFT:] = np.array(colours, np.uint8)[after]
        _write(row, side.value, 16, SIDE_COLOURS[side])
        return row

    def _plot(self, name: str, unit: str, values: dict[Side, np.ndarray], highest: float | None) -> np.ndarray:
        """Draws values of both sides over time, NaN where there is no estimate, from 0 to ``highest``."""
        row = np.zeros((PLOT, WIDTH, 3), np.uint8)
        row[:, LEFT:] = (42, 42, 46)
        known = np.concatenate([of_side[np.isfinite(of_side)] for of_side in values.values()])
        top = highest if highest is not None else max(float(known.max(initial=0.1)), 0.1)
        for side, of_side in values.items():
            y = (PLOT - 2) - np.clip(of_side / top, 0, 1) * (PLOT - 4)
            points = np.column_stack([self._columns(self._stamps), y])
            for number in range(len(points) - 1):
                ends = points[number : number + 2]
                if np.isfinite(ends).all() and self._stamps[number + 1] - self._stamps[number] <= LONGEST_STEP:
                    a, b = ends.round().astype(int).tolist()
                    cv2.line(row, a, b, SIDE_COLOURS[side], 1, cv2.LINE_AA)
        _write(row, name, 16, TEXT)
        _write(row, f"0 to {top:.2g} {unit}".rstrip(), 36, (150, 150, 150), 0.48)
        return row


def _values(recording: Recording, side: Side, value) -> np.ndarray:
    """Returns (T,) values of the hand of a side, NaN where there is none."""
    return np.array([np.nan if hand is None else value(hand) for hand in recording.of_side(side)])


def _speeds(recording: Recording, side: Side) -> np.ndarray:
    """Returns (T,) speeds of the wrist in m/s, in the fixed frame if it is known."""
    hands = recording.of_side(side)
    wrists = np.array([np.full(3, np.nan) if hand is None else hand.wrist for hand in hands])
    steps = np.linalg.norm(np.diff(wrists, axis=0), axis=1) / np.maximum(np.diff(recording.stamps), 1e-6)
    return np.concatenate([[np.nan], steps])


def _rgb(colour: str) -> tuple[int, ...]:
    """Returns the numbers of a colour such as #3a9d5d."""
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def _write(row: np.ndarray, text: str, y: int, colour: Sequence[int], size: float = 0.56) -> None:
    cv2.putText(row, text, (2, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
