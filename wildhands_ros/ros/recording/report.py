"""``wildhands report``: how good the hands of annotated recordings are, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...hand_model.joints import MEDIAPIPE_BONES
from ...io.errors import foreign_bytes
from ...io.files import OutputFile
from ...io.images import encode_image
from ...recording.bags import Bag
from ...recording.demonstrations import KIND
from ...recording.message import SIDE_OF_VALUE, Message
from ...recording.report import Recording, recommendations, report_html
from ...visualization.overlay import SIDE_COLOURS, draw_bones
from .recorded_frames import IndexedFrame, index_recording, read_frame

NOT_USABLE_COLOUR = (220, 50, 70)
"""RGB of hands that are not usable."""
THUMBNAIL_WIDTH = 320


def write_reports(bags: Sequence[Path], output: Path) -> list[str]:
    """Writes the report of annotated recordings.

    Args:
        bags: Annotated bags.
        output: The new HTML file.

    Returns:
        What to record again, one sentence each.

    Raises:
        InputError: A bag has no hands.
        OSError: The output cannot be written.
    """
    with OutputFile(output) as partial:
        recordings = [read_recording(path) for path in bags]
        partial.write_text(report_html(recordings), encoding="utf-8")
    return [f"{each.name}: {sentence}" for each in recordings for sentence in recommendations(each)]


def read_recording(path: Path) -> Recording:
    """Reads the hands of an annotated bag.

    Raises:
        InputError: There are none.
    """
    with Bag(path) as bag:
        frames = index_recording(bag).frames

    def thumbnail(number: int) -> bytes | None:
        return _thumbnail(path, frames[number])

    stamps = (np.array([frame.stamp for frame in frames]) - frames[0].stamp) / 1e9
    return Recording(path.name, stamps, [frame.hands for frame in frames], thumbnail)


def _thumbnail(path: Path, frame: IndexedFrame) -> bytes | None:
    """Returns a small JPEG of the image of a frame, with its hands drawn on it; None if the bag does not have it."""
    with Bag(path) as bag, foreign_bytes(path, KIND):
        found = read_frame(bag, frame.stamp, frame.received)
        if found.image is None:
            return None
        image = draw_recorded_hands(found.image, found.hands)
    height = round(image.shape[0] * THUMBNAIL_WIDTH / image.shape[1])
    small = np.asarray(cv2.resize(image, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA))
    return encode_image(small, ".jpg")


def draw_recorded_hands(image: np.ndarray, hands: Message | None) -> np.ndarray:
    """Returns an image with the skeletons of the hands of a HandArray; those that are not usable are red."""
    image = image.copy()
    for hand in hands.hands if hands is not None else ():
        if hand.side not in SIDE_OF_VALUE:
            continue
        colour = SIDE_COLOURS[SIDE_OF_VALUE[hand.side]] if hand.usable else NOT_USABLE_COLOUR
        draw_bones(
            image, np.reshape(hand.joints_2d, (21, 2)), [colour] * len(MEDIAPIPE_BONES), max(image.shape[1] // 320, 1)
        )
    return image
