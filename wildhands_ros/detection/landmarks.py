"""Finds the keypoints of a hand in a known box, from another detector or from the last image.

Landmark networks recognise hands that palm detectors miss, but they need upright crops, in which the wrist is below the
base of the middle finger. If the rotation of a hand is unknown, four rotations are tried and the best one is refined.
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


class LandmarkInference(Protocol):
    """Runs a landmark network on crops of an image."""

    def __call__(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray
    ) -> list[Detection | None]:
        """Infers the hand in each crop.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of the image.
            boxes: (N, 4) boxes of the hands alone; the network adds the margin that it needs. The side of a crop is the
                longer side of its box.
            turns: (N,) rotation of each crop in radians, as ``hand_turn``.

        Returns:
            One detection per crop, whose score is the presence of a hand; None for a box that the camera does not see.
        """
        ...


class LandmarkDetector:
    """Finds the keypoints of the hand in a given box.

    Args:
        infer: Landmark network.
        min_score: Presence in (0, 1) below which a crop shows no hand.
    """

    def __init__(self, infer: LandmarkInference, min_score: float = 0.5):
        self._infer = infer
        self._min_score = min_score

    def detect_in_box(self, image_rgb: np.ndarray, camera: Camera, box: np.ndarray) -> Detection | None:
        """Finds the keypoints of the hand in a box, whether or not the network recognises a hand there.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of the image.
            box: (4,) box of the hand.

        Returns:
            The hand, whose score is the presence; None if the camera does not see the box.
        """
        first = self._infer(image_rgb, camera, np.tile(box, (len(QUARTER_TURNS), 1)), QUARTER_TURNS)
        best = max((found for found in first if found is not None), key=lambda found: found.score, default=None)
        if best is None or best.keypoints is None:
            return None
        # With quarter turns the crop is off by up to 45 degrees: close enough for keypoints, but not for the other
        # outputs of the network.
        (refined,) = infer_around_keypoints(self._infer, image_rgb, camera, [best.keypoints])
        found = [hand for hand in (refined, replace(best, prediction=None)) if hand is not None]
        return next(filter(self._is_present, found), max(found, key=lambda hand: hand.score))

    def follow(
        self, image_rgb: np.ndarray, camera: Camera, keypoints: Sequence[np.ndarray], hysteresis: float = 1.0
    ) -> list[Detection | None]:
        """Infers hands whose keypoints are known roughly.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of the image.
            keypoints: (21, 2) rough keypoints of each hand.
            hysteresis: Factor of the minimum presence: below 1 for hands that are known already.

        Returns:
            Each hand in this image; None if the network recognises none.
        """
        found = infer_around_keypoints(self._infer, image_rgb, camera, keypoints)
        return [hand if hand is not None and self._is_present(hand, hysteresis) else None for hand in found]

    def _is_present(self, hand: Detection, hysteresis: float = 1.0) -> bool:
        return hand.score >= hysteresis * self._min_score


def infer_around_keypoints(
    infer: LandmarkInference, image_rgb: np.ndarray, camera: Camera, keypoints: Sequence[np.ndarray]
) -> list[Detection | None]:
    """Runs a landmark network on the upright crops around (21, 2) keypoints of hands."""
    if not keypoints:
        return []
    turns = [hand_turn(points) for points in keypoints]
    squares = [rotated_square(points, turn) for points, turn in zip(keypoints, turns, strict=True)]
    return infer(image_rgb, camera, np.stack(squares), np.array(turns))


def detection_from_landmarks(
    landmarks: Landmarks, image_rgb: np.ndarray, prediction: NetworkPrediction | None = None
) -> Detection:
    """Converts landmarks to a detection.

    Args:
        landmarks: Output of the landmark network.
        image_rgb: (H, W, 3) image, to which the box is clipped.
        prediction: 3D prediction of the same forward pass.
    """
    keypoints = landmarks.keypoints
    return Detection(
        box=hand_box(keypoints, image_rgb.shape[1], image_rgb.shape[0]),
        side=Side.RIGHT if landmarks.is_right > 0.5 else Side.LEFT,
        score=landmarks.presence,
        side_score=max(landmarks.is_right, 1 - landmarks.is_right),
        keypoints=keypoints,
        world=landmarks.world,
        prediction=prediction,
        box_from_keypoints=True,
    )


def hand_turn(keypoints: np.ndarray) -> float:
    """Returns the rotation of a hand in the image.

    Args:
        keypoints: (21, 2) pixels.

    Returns:
        Angle in radians from upright to the direction from the wrist to the base of the middle finger, clockwise as
        seen in the image.
    """
    x, y = keypoints[MIDDLE_MCP] - keypoints[WRIST]
    return float(np.arctan2(x, -y))
