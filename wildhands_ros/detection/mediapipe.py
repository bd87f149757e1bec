"""MediaPipe Hands as a hand detector (its models come in its wheel)."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from ..geometry.boxes import hand_box
from ..types import Detection, Side
from .mediapipe_graph import GraphHand, HandGraph

_SAME_HAND = 0.15
"""Two hands whose keypoints lie closer than this, on average and as a fraction of the box's longer side, are one hand found twice."""
_SKIN_TONE = np.clip(np.arange(256)[:, None] * (1, 0.75, 0.65) + (40, 0, 0), 0, 255).astype(np.uint8)[None]
"""Colour of each grey value. Of 62 hands found in colour pictures, 40 are found in the grey ones, and 59 once they are tinted."""


class MediaPipeDetector:
    """Boxes, sides, keypoints and world landmarks from MediaPipe Hands 0.10.21. May be shared by threads, which then take turns.

    Args:
        max_hands: the most hands that are looked for.
        min_score: threshold in (0, 1) for palms and for the presence of a hand.
        tracking: look first where the last image had hands; True for streams, False for pictures that have nothing to do with each other.

    Raises:
        ImportError: mediapipe is not installed.
        ValueError: a parameter is out of range.
    """

    def __init__(self, max_hands: int = 2, min_score: float = 0.5, tracking: bool = True):
        if max_hands < 1:
            raise ValueError(f"max_hands must be at least 1, not {max_hands}")
        if not 0 < min_score < 1:
            raise ValueError(f"min_score must lie between 0 and 1, not {min_score}")
        self._lock = threading.Lock()
        self._graph: HandGraph | None = HandGraph(max_hands, min_score, tracking)

    def detect(self, image_rgb: np.ndarray) -> list[Detection]:
        """Any number of hands of either side in an (H, W, 3) uint8 image, best score first. Grey ones may also be (H, W) or (H, W, 1).

        Raises:
            ValueError: the image is empty, or not uint8 with one or three channels.
            RuntimeError: the detector is closed.
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
        """Frees the models; the detector cannot be used afterwards. May be called twice."""
        with self._lock:
            if self._graph is not None:
                self._graph.close()
                self._graph = None


def _colour(image: np.ndarray) -> np.ndarray:
    """The image as (H, W, 3), in skin tone if it is grey."""
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
        side=Side.LEFT if hand.label == "Right" else Side.RIGHT,  # the label is for a mirrored picture
        score=hand.presence,
        side_score=hand.label_score,
        keypoints=keypoints,
        world=hand.world,
        box_is_own=False,
    )


def _without_duplicates(detections: list[Detection]) -> list[Detection]:
    """Drops the later of two detections of the same hand."""
    kept: list[Detection] = []
    for detection in detections:
        if not any(_keypoint_distance(detection, other) < _SAME_HAND for other in kept):
            kept.append(detection)
    return kept


def _keypoint_distance(a: Detection, b: Detection) -> float:
    distance = np.linalg.norm(a.keypoints - b.keypoints, axis=1).mean()
    return distance / max(np.ptp(a.keypoints, axis=0).max(), 1e-9)
