"""Keypoints for a box that is already known: from another detector, or from the last frame.

Landmark networks know hands that MediaPipe's palm detector misses, but they want their crops upright: the wrist below the middle finger's
base. Where the turn is not known, four are tried and the best is refined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..geometry.boxes import hand_box, rotated_square
from ..geometry.camera import Camera
from ..types import Detection, Landmarks, NetworkPrediction, Side

WRIST, MIDDLE_MCP = 0, 9
QUARTER_TURNS = np.radians([0.0, 90, 180, 270])


class Look(Protocol):
    """Runs a landmark network on places in an image."""

    def __call__(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray
    ) -> list[Detection | None]:
        """What is seen of an (H, W, 3) uint8 image in the squares around ``boxes`` (N, 4), turned by ``turns`` (N,) radians; a hand's score
        is its presence. None for a box that the camera does not see.

        The network adds the surroundings that it needs: give the box of the hand alone, the squares' sides are their longer sides.
        """
        ...


class LandmarkDetector:
    """Finds the 21 keypoints of the hand in a given box. ``min_score`` is the presence in (0, 1) below which a box holds no hand."""

    def __init__(self, look: Look, min_score: float = 0.5):
        self._look = look
        self._min_score = min_score

    def detect_in_box(self, image_rgb: np.ndarray, camera: Camera, box: np.ndarray) -> Detection | None:
        """The hand in ``box`` (4,) of an (H, W, 3) uint8 image, or None where the network sees none."""
        first = self._look(image_rgb, camera, np.tile(box, (len(QUARTER_TURNS), 1)), QUARTER_TURNS)
        best = max((found for found in first if found is not None), key=lambda found: found.score, default=None)
        if best is None:
            return None
        # A quarter's turn leaves up to 45 degrees: near enough for keypoints, too far for the network's other outputs.
        (again,) = self.follow(image_rgb, camera, [best.keypoints])
        return again or self._sure(replace(best, prediction=None))

    def follow(self, image_rgb: np.ndarray, camera: Camera, keypoints: Sequence[np.ndarray]) -> list[Detection | None]:
        """Of each hand whose keypoints (21, 2) are about known, what is seen there now; None where the network sees no hand."""
        return [self._sure(found) for found in look_at(self._look, image_rgb, camera, keypoints)]

    def _sure(self, detection: Detection | None) -> Detection | None:
        return detection if detection is not None and detection.score >= self._min_score else None


def look_at(
    look: Look, image_rgb: np.ndarray, camera: Camera, keypoints: Sequence[np.ndarray]
) -> list[Detection | None]:
    """With the crops that belong to each hand's keypoints (21, 2): upright, and centred on their box in the turned frame."""
    if not len(keypoints):
        return []
    turns = [hand_turn(points) for points in keypoints]
    squares = [rotated_square(points, turn) for points, turn in zip(keypoints, turns, strict=True)]
    return look(image_rgb, camera, np.stack(squares), np.array(turns))


def detection_of(landmarks: Landmarks, image_rgb: np.ndarray, prediction: NetworkPrediction | None = None) -> Detection:
    """Landmarks in an (H, W, 3) image as a detection."""
    keypoints = landmarks.keypoints
    return Detection(
        box=hand_box(keypoints, image_rgb.shape[1], image_rgb.shape[0]),
        side=Side.RIGHT if landmarks.is_right > 0.5 else Side.LEFT,
        score=landmarks.presence,
        side_score=max(landmarks.is_right, 1 - landmarks.is_right),
        keypoints=keypoints,
        world=landmarks.world,
        prediction=prediction,
        box_is_own=False,
    )


def hand_turn(keypoints: np.ndarray) -> float:
    """Angle (radians, clockwise in the image) from upright to the direction wrist to middle finger's base; (21, 2) keypoints."""
    x, y = keypoints[MIDDLE_MCP] - keypoints[WRIST]
    return float(np.arctan2(x, -y))
