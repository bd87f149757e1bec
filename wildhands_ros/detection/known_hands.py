"""The hands of a stream's last image, as the start of the search in the next one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..geometry.boxes import hand_box
from ..geometry.camera import Camera
from ..types import Detection, Side
from .landmarks import LandmarkDetector

HYSTERESIS = 0.6
"""Factor of the minimum presence for a hand that is already known: it is lost less easily than found."""


class KnownHands:
    """The hands of the last image while the current image is searched. Each is followed at most once.

    Args:
        hands: Hands of the last image, with keypoints.
        landmarks: Follows them.
        image_rgb: (H, W, 3) uint8, the current image.
        camera: Its camera.
    """

    def __init__(self, hands: Sequence[Detection], landmarks: LandmarkDetector, image_rgb: np.ndarray, camera: Camera):
        self.hands = [hand for hand in hands if hand.keypoints is not None]
        self._landmarks, self._image, self._camera = landmarks, image_rgb, camera
        self._followed: dict[int, Detection | None] = {}

    def follow(self, indices: Iterable[int]) -> list[Detection | None]:
        """Returns the hands with these indices as they are in the current image; None for those that are lost."""
        wanted = list(indices)
        new = [i for i in wanted if i not in self._followed]
        keypoints = [points for i in new if (points := self.hands[i].keypoints) is not None]
        found = self._landmarks.follow(self._image, self._camera, keypoints, HYSTERESIS)
        self._followed.update(zip(new, found, strict=True))
        return [self._followed[i] for i in wanted]


def known_hand(joints_2d: np.ndarray, side: Side, score: float, side_score: float, camera: Camera) -> Detection | None:
    """Converts an estimated hand to a detection for the next image.

    Args:
        joints_2d: (21, 2) projected joints in pixels, which become its keypoints.
        side: Side of the hand.
        score: Confidence that it is a hand.
        side_score: Confidence that ``side`` is correct.
        camera: Camera of the image.

    Returns:
        The hand with its box, clipped to the image; None if the hand is outside the image.
    """
    last = np.array([camera.width - 1, camera.height - 1], dtype=np.float64)
    corners = np.stack([joints_2d.min(0), joints_2d.max(0)])
    if not np.isfinite(corners).all() or (corners[0] >= last).any() or (corners[1] <= 0).any():
        return None
    box = hand_box(joints_2d, camera.width, camera.height)
    return Detection(box, side, score, side_score, keypoints=joints_2d, box_from_keypoints=True)
