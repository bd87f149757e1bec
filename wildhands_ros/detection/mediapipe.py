"""Hand detection with MediaPipe Hands, whose models are part of its wheel."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from ..geometry.boxes import hand_box
from ..types import Detection, Side
from .mediapipe_graph import GraphHand, HandGraph

_SAME_HAND = 0.15
"""Two detections are of one hand if their keypoints are closer than this on average, as a share of the keypoints'
box."""
_SKIN_TONE = np.clip(np.arange(256)[:, None] * (1, 0.75, 0.65) + (40, 0, 0), 0, 255).astype(np.uint8)[None]
"""Colour of each grey value. Of 62 hands found in colour images, 40 are found in grey images and 59 in tinted ones."""


class MediaPipeDetector:
    """Detects hands with boxes, sides, keypoints and world landmarks using MediaPipe Hands 0.10.21. Thread-safe.

    Args:
        max_hands: Maximum number of hands per image.
        min_score: Threshold in (0, 1) for palms and for the presence of a hand.
        tracking: Whether to look first where the last image had hands; True for streams, False for unrelated images.

    Raises:
        ImportError: mediapipe is not installed.
        ValueError: An argument is out of range.
    """

    def __init__(self, max_hands: int = 2, min_score: float = 0.5, tracking: bool = True):
        if max_hands < 1:
            raise ValueError(f"max_hands must be at least 1, not {max_hands}")
        if not 0 < min_score < 1:
            raise ValueError(f"min_score must lie between 0 and 1, not {min_score}")
        self._lock = threading.Lock()
        self._graph: HandGraph | None = HandGraph(max_hands, min_score, tracking)

    def detect(self, image_rgb: np.ndarray) -> list[Detection]:
        """Detects any number of hands of either side.

        Args:
            image_rgb: (H, W, 3) uint8; grey images may also be (H, W) or (H, W, 1).

        Returns:
            The hands, best score first.

        Raises:
            ValueError: The image is empty, or not uint8 with one or three channels.
            RuntimeError: The detector is closed.
        """
        image = _colour(image_rgb)
        with self._lock:
            if self._graph is None:
                raise RuntimeError("the detector is closed")
            hands = self._graph.process(image)
        detections = [_detection(hand, image.shape[1], image.shape[0]) for hand in hands]
        return _without_duplicates(sorted(detections, key=lambda d: -d.score))

    def reset(self) -> None:
        """Forgets earlier images, as at the start of a new stream."""
        with self._lock:
            if self._graph is not None:
                self._graph.reset()

    def close(self) -> None:
        """Frees the models. The detector cannot be used afterwards; calling this again has no effect."""
        with self._lock:
            if self._graph is not None:
                self._graph.close()
                self._graph = None


def _colour(image: np.ndarray) -> np.ndarray:
    """Converts an image to (H, W, 3), tinted in a skin tone if it is grey."""
    if image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"expected a non-empty uint8 image, got {image.dtype} of shape {image.shape}")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"expected an image of shape (H, W, 3), got {image.shape}")
    image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
    sparse = image[::8, ::8]
    is_grey = np.array_equal(sparse[..., 0], sparse[..., 1]) and np.array_equal(sparse[..., 0], sparse[..., 2])
    return cv2.LUT(image, _SKIN_TONE) if is_grey else image


def _detection(hand: GraphHand, width: int, height: int) -> Detection:
    keypoints = hand.landmarks * (width, height) - 0.5
    return Detection(
        box=hand_box(keypoints, width, height),
        side=Side.LEFT if hand.label == "Right" else Side.RIGHT,  # the label assumes a mirrored image
        score=hand.presence,
        side_score=hand.label_score,
        keypoints=keypoints,
        world=hand.world,
        box_from_keypoints=True,
    )


def _without_duplicates(detections: list[Detection]) -> list[Detection]:
    """Suppresses the later of two detections of the same hand."""
    kept: list[Detection] = []
    for detection in detections:
        if not any(_keypoint_distance(detection, other) < _SAME_HAND for other in kept):
            kept.append(detection)
    return kept


def _keypoint_distance(a: Detection, b: Detection) -> float:
    """Returns the mean distance of the keypoints relative to the longer side of ``a``."""
    if a.keypoints is None or b.keypoints is None:
        return float("inf")
    distance = np.linalg.norm(a.keypoints - b.keypoints, axis=1).mean()
    return float(distance) / max(float(np.ptp(a.keypoints, axis=0).max()), 1e-9)
