"""All ways to hands in one place: a detector or boxes from elsewhere, keypoints for those without, and what the last frame knew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..config import AUTO, DETECTORS, OWN, TOPIC, TRACKS
from ..geometry.boxes import box_iou
from ..geometry.camera import Camera
from ..network.detector_net import SECOND_STAGE_DETECTOR, load_detector
from ..tracking.tracks import last_hands
from ..types import Detection, FrameEstimate
from .duplicates import without_duplicates
from .landmarks import LandmarkDetector, Look
from .mediapipe import MediaPipeDetector
from .proposals import ProposalNet
from .search import HandSearch

SAME_HAND_IOU = 0.3
"""Overlap of boxes from which two of them are about one hand."""


class HandFinder:
    """Finds the hands of images. Not for use from two threads at once.

    Args:
        detector: one of ``base.DETECTORS``.
        max_hands: the most hands of an image, of either side.
        min_score: confidence in (0, 1) below which there is no hand.
        look: the landmark network that verifies proposals, finds keypoints for boxes that come without and follows hands; it also looks at
            what MediaPipe finds, with crops that fit its keypoints better than MediaPipe's own.
        budget: seconds that ``auto`` may look further in an image of a stream in which it has found nothing.
        windows: in its place, so many places, the whole image or a part of it.

    :raises ValueError: an unknown detector or a score out of range.
    :raises ImportError: a package that the detector needs is missing.
    :raises OSError: the weights cannot be read.
    """

    def __init__(
        self,
        detector: str,
        max_hands: int,
        min_score: float,
        look: Look,
        budget: float = 0.02,
        windows: int | None = None,
    ):
        if detector not in DETECTORS:
            raise ValueError(f"unknown detector {detector!r}; known: {', '.join(DETECTORS)}")
        if max_hands < 1:
            raise ValueError(f"max_hands must be at least 1, not {max_hands}")
        if not 0 < min_score < 1:
            raise ValueError(f"min_score must lie between 0 and 1, not {min_score}")
        self._detector, self._max_hands, self._min_score = detector, max_hands, min_score
        self._landmarks = LandmarkDetector(look, min_score)
        self._search = None
        if detector in (AUTO, OWN):
            budget = budget if detector == AUTO else None
            propose, close_up = ProposalNet(load_detector()), ProposalNet(load_detector(SECOND_STAGE_DETECTOR)).hands
            self._search = HandSearch(propose, close_up, look, max_hands, min_score, budget, windows)
        # By whether the images are a stream; each is made when it is first needed.
        self._mediapipe: dict[bool, MediaPipeDetector] = {}

    def detect(
        self, image_rgb: np.ndarray, camera: Camera, last_frame: FrameEstimate | None, is_stream: bool
    ) -> list[Detection]:
        """What the configured detector says of an (H, W, 3) uint8 image.

        ``last_frame``: what was estimated of the stream's last image, if anything.

        :raises ValueError: the image should have come with its detections.
        """
        if self._detector == TOPIC:
            raise ValueError("the detector is topic: every image must come with its detections")
        if self._detector == TRACKS:
            return []
        if self._search is not None:
            if not is_stream:
                return self._search.still(image_rgb, camera)
            return self._search.next(image_rgb, camera, last_hands(last_frame) if last_frame is not None else [])
        if is_stream not in self._mediapipe:
            self._mediapipe[is_stream] = MediaPipeDetector(self._max_hands, self._min_score, tracking=is_stream)
        detections = self._mediapipe[is_stream].detect(image_rgb)
        again = self._landmarks.follow(image_rgb, camera, [detection.keypoints for detection in detections])
        return [found or detection for found, detection in zip(again, detections, strict=True)]

    def complete(
        self,
        detections: Sequence[Detection],
        image_rgb: np.ndarray,
        camera: Camera,
        last_frame: FrameEstimate | None,
        keep_bare_boxes: bool,
    ) -> list[Detection]:
        """Drops the doubtful and duplicates, finds keypoints for boxes without, and adds hands of the last frame that the detector lost.

        Boxes in which no keypoints are found stay only with ``keep_bare_boxes``, for a network that needs none, and with a known side.
        """
        known = last_hands(last_frame) if last_frame is not None else []
        complete = []
        for detection in detections:
            if detection.score < self._min_score:  # NaN, an unknown score, passes
                continue
            if detection.keypoints is None:
                found = self._keypoints(image_rgb, camera, detection.box, known)
                if found is not None:
                    detection = _merged(detection, found)
                elif not keep_bare_boxes or detection.side is None:
                    continue
            complete.append(detection)
        complete = without_duplicates(complete)[: self._max_hands]
        lost = (
            [last.keypoints for last in known if not _overlaps(last, complete)]
            if len(complete) < self._max_hands
            else []
        )
        for found in self._landmarks.follow(image_rgb, camera, lost):
            if found is not None and len(complete) < self._max_hands and not _overlaps(found, complete):
                complete.append(found)
        return complete

    def reset(self) -> None:
        """Forgets earlier images."""
        if self._search is not None:
            self._search.reset()
        for detector in self._mediapipe.values():
            detector.reset()

    def close(self) -> None:
        """Frees the detectors; the finder cannot be used afterwards."""
        for detector in self._mediapipe.values():
            detector.close()

    def _keypoints(
        self, image_rgb: np.ndarray, camera: Camera, box: np.ndarray, known: list[Detection]
    ) -> Detection | None:
        """The hand in the box; a known hand there saves the search for its turn."""
        before = next((hand for hand in known if box_iou(hand.box, box) > SAME_HAND_IOU), None)
        found = None if before is None else self._landmarks.follow(image_rgb, camera, [before.keypoints])[0]
        return (
            found
            if found is not None and _overlaps(found, [before])
            else self._landmarks.detect_in_box(image_rgb, camera, box)
        )


def _overlaps(detection: Detection, others: list[Detection]) -> bool:
    return any(box_iou(detection.box, other.box) > SAME_HAND_IOU for other in others)


def _merged(box: Detection, keypoints: Detection) -> Detection:
    """A detector's box and side with the landmark network's keypoints; its side too where the detector knows none."""
    side = box if box.side is not None else keypoints
    return replace(keypoints, box=box.box, box_is_own=True, score=box.score, side=side.side, side_score=side.side_score)
