"""Finds the hands of an image: with a detector, in external boxes, and where they were in the last image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..config import AUTO, DETECTORS, OWN, TOPIC, TRACKS, EstimatorConfig, SearchTime
from ..geometry.boxes import box_iou
from ..geometry.camera import Camera
from ..network.network_file import SECOND_STAGE_DETECTOR
from ..types import Detection
from .duplicates import without_duplicates
from .known_hands import KnownHands
from .landmarks import LandmarkDetector, LandmarkInference
from .mediapipe import MediaPipeDetector
from .proposals import Proposal, ProposalNet
from .verification import FOLLOWING, STILL, STREAM, THOROUGH, ProposalVerifier, Propose, Seen
from .windows import Window, WindowSchedule

SEARCH_EVERY = 4
"""While some hands are followed, further hands are searched for in every fourth image."""
SURE = 0.8
"""Score from which a new hand of a stream is reported at once; others must be found in two consecutive images. In a
tile of a still image only hands with this score are reported."""
_SAME_HAND = 0.3
"""IoU above which two boxes are of one hand."""


class BundledDetector(NamedTuple):
    """The detector that comes with the package."""

    propose: Propose
    """First stage, for a window of an image."""
    second_stage: Propose
    """Second stage, for a crop around a proposal."""


class Found(NamedTuple):
    """Hands of one image."""

    hands: list[Detection]
    """Hands to estimate."""
    candidates: int
    """Number of detections from which they were chosen."""


class HandFinder:
    """Finds the hands of images. Not thread-safe.

    Args:
        config: Detector, limits and search options.
        infer: Landmark network. It verifies proposals, finds keypoints in boxes without them, and follows hands. It
            also refines what MediaPipe finds, with crops that fit its keypoints better than MediaPipe's own.
        keep_bare_boxes: Whether boxes of known side are kept although no keypoints are found in them, for a network
            that needs none.
        bundled: Detector to use instead of the bundled one.

    Raises:
        ValueError: Unknown detector, or an option is out of range.
        ImportError: A package that the detector needs is not installed.
        OSError: The weights cannot be read.
    """

    def __init__(
        self,
        config: EstimatorConfig,
        infer: LandmarkInference,
        keep_bare_boxes: bool = False,
        bundled: BundledDetector | None = None,
    ):
        if config.detector not in DETECTORS:
            raise ValueError(f"unknown detector {config.detector!r}; known: {', '.join(DETECTORS)}")
        if config.max_hands < 1:
            raise ValueError(f"max_hands must be at least 1, not {config.max_hands}")
        if not 0 < config.min_score < 1:
            raise ValueError(f"min_score must lie between 0 and 1, not {config.min_score}")
        self._config, self._keep_bare_boxes = config, keep_bare_boxes
        self._landmarks = LandmarkDetector(infer, config.min_score)
        self._search: _Search | None = None
        if config.detector in (AUTO, OWN):
            self._search = _Search(config, infer, bundled or _load_bundled())
        # One for streams and one for single images, each created when it is first needed.
        self._mediapipe: dict[bool, MediaPipeDetector] = {}

    def find(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        known: Sequence[Detection] = (),
        is_stream: bool = False,
        detections: Sequence[Detection] | None = None,
    ) -> Found:
        """Finds the hands of an image.

        Doubtful hands and duplicates are dropped, boxes without keypoints get them, and hands of the last image that
        the detector lost are added if the landmark network still recognises them. A box from outside is kept even if
        the landmark network recognises no hand in it; its score is then low.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of the image.
            known: Hands of the stream's last image, with keypoints.
            is_stream: Whether this is an image of a stream.
            detections: External detections; None to use the configured detector.

        Raises:
            ValueError: The detector is "topic", and there are no external detections.
        """
        last = KnownHands(known, self._landmarks, image_rgb, camera)
        candidates = self._detect(image_rgb, camera, last, is_stream) if detections is None else detections
        completed = [self._completed(detection, image_rgb, camera, last) for detection in candidates]
        most = self._config.max_hands
        hands = [hand for hand in completed if hand is not None]
        if detections is not None or self._search is None:  # The search has none.
            hands = without_duplicates(hands)
        hands = hands[:most]
        if len(hands) < most:
            lost = [i for i, hand in enumerate(last.hands) if not _overlaps(hand, hands)]
            for hand in last.follow(lost):
                if hand is not None and len(hands) < most and not _overlaps(hand, hands):
                    hands.append(hand)
        return Found(hands, len(candidates))

    def reset(self) -> None:
        """Forgets earlier images."""
        if self._search is not None:
            self._search.reset()
        for detector in self._mediapipe.values():
            detector.reset()

    def close(self) -> None:
        """Frees the detectors. The finder cannot be used afterwards."""
        for detector in self._mediapipe.values():
            detector.close()

    def _detect(self, image_rgb: np.ndarray, camera: Camera, last: KnownHands, is_stream: bool) -> list[Detection]:
        """Runs the configured detector."""
        if self._config.detector == TOPIC:
            raise ValueError("the detector is topic: every image must come with its detections")
        if self._config.detector == TRACKS:
            return []
        if self._search is not None:
            if is_stream:
                return self._search.next(image_rgb, camera, last)
            return self._search.still(image_rgb, camera)
        if is_stream not in self._mediapipe:
            self._mediapipe[is_stream] = MediaPipeDetector(
                self._config.max_hands, self._config.min_score, tracking=is_stream
            )
        detections = self._mediapipe[is_stream].detect(image_rgb)
        keypoints = [points for detection in detections if (points := detection.keypoints) is not None]
        refined = self._landmarks.follow(image_rgb, camera, keypoints)
        return [better or detection for better, detection in zip(refined, detections, strict=True)]

    def _completed(
        self, detection: Detection, image_rgb: np.ndarray, camera: Camera, last: KnownHands
    ) -> Detection | None:
        """Returns the detection with keypoints; None if its score is low or the camera does not see it."""
        if detection.score < self._config.min_score:  # False for NaN, an unknown score
            return None
        if detection.keypoints is not None:
            return detection
        found = self._followed_into(detection.box, last) or self._landmarks.detect_in_box(
            image_rgb, camera, detection.box
        )
        if found is not None:
            return self._merged(detection, found)
        return detection if self._keep_bare_boxes and detection.side is not None else None

    def _followed_into(self, box: np.ndarray, last: KnownHands) -> Detection | None:
        """Returns the known hand at a box: with it, the four rotations of ``detect_in_box`` need not be tried."""
        index = next((i for i, hand in enumerate(last.hands) if box_iou(hand.box, box) > _SAME_HAND), None)
        if index is None:
            return None
        (found,) = last.follow([index])
        return found if found is not None and _overlaps(found, [last.hands[index]]) else None

    def _merged(self, box: Detection, keypoints: Detection) -> Detection:
        """Combines the box, score and side of a detector, if it knows the side, with the keypoints of the landmarks.

        Where the landmark network recognises no hand, its presence lowers the score.
        """
        side = box if box.side is not None else keypoints
        score = box.score
        if keypoints.score < self._config.min_score:
            score = keypoints.score * (1.0 if np.isnan(score) else score)
        return replace(
            keypoints,
            box=box.box,
            box_from_keypoints=False,
            score=score,
            side=side.side,
            side_score=side.side_score,
        )


class _Search:
    """Finds hands with the bundled detector."""

    def __init__(self, config: EstimatorConfig, infer: LandmarkInference, detector: BundledDetector):
        self._propose = detector.propose
        self._verifier = ProposalVerifier(detector.second_stage, infer, config.min_score)
        self._schedule = WindowSchedule(with_tiles=config.detector == AUTO)
        self._limit = config.search
        if config.detector == OWN and isinstance(config.search, SearchTime):
            self._limit = SearchTime(0.0)
        self._max_hands = config.max_hands
        self._since_search = SEARCH_EVERY
        self._pending: list[Detection] = []
        self._pending_window: Window | None = None

    def reset(self) -> None:
        """Starts a new stream."""
        self._since_search = SEARCH_EVERY
        self._pending, self._pending_window = [], None
        self._schedule.reset()

    def still(self, image_rgb: np.ndarray, camera: Camera) -> list[Detection]:
        """Returns the hands of a single image.

        Where nothing is found, less likely places are examined as well and then, in a large image, its tiles, of which
        only sure hands are taken: an image that shows no hand as a whole seldom has one.
        """
        windows, parts = self._schedule.of_still(image_rgb)
        proposals = self._proposals(image_rgb, windows)
        seen: Seen = {}
        hands = self._verifier.verify(image_rgb, camera, proposals, [], STILL, seen)
        if not hands:
            hands = self._verifier.verify(image_rgb, camera, proposals, [], THOROUGH, seen)
        if not hands and parts:
            hands = self._verifier.verify(image_rgb, camera, self._proposals(image_rgb, parts), [], STILL)
            hands = [hand for hand in hands if hand.score >= SURE]
        return hands[: self._max_hands]

    def _proposals(self, image_rgb: np.ndarray, windows: Sequence[Window]) -> list[Proposal]:
        return [proposal for window in windows for proposal in self._propose(image_rgb, window)]

    def next(self, image_rgb: np.ndarray, camera: Camera, last: KnownHands) -> list[Detection]:
        """Returns the hands of the next image of a stream.

        Known hands are followed first. A further hand is reported at once if it is sure, otherwise once it has been
        found in two consecutive images.
        """
        start = time.monotonic()
        followed = last.follow(range(len(last.hands)))
        hands = without_duplicates([hand for hand in followed if hand is not None])
        is_lost = len(hands) < len(last.hands)
        self._since_search += 1
        is_due = is_lost or bool(self._pending) or self._since_search >= SEARCH_EVERY
        if len(hands) >= self._max_hands or (hands and not is_due):
            self._pending = []
            return hands[: self._max_hands]
        self._since_search = 0
        pending, self._pending = self._pending, []
        # Some hands are recognised by the second stage only, and so are not followed.
        familiar = [*pending, *last.hands]
        windows = self._schedule.following(image_rgb, whole_first=is_lost)
        if pending and self._pending_window is not None:
            windows = chain([self._pending_window], windows)
        for count, window in enumerate(windows, start=1):
            proposals = self._propose(image_rgb, window)
            found = self._verifier.verify(image_rgb, camera, proposals, hands, FOLLOWING if hands else STREAM)
            new = [hand for hand in found if not any(hand is other for other in hands)]
            born = [hand for hand in new if hand.score >= SURE or _overlaps(hand, familiar)]
            doubtful = [hand for hand in new if not any(hand is other for other in born)]
            if doubtful:
                self._pending, self._pending_window = [*self._pending, *doubtful], window
            hands = [hand for hand in found if not any(hand is other for other in doubtful)]
            # Without hands there is nothing else to do in the time; with all of them, the other stages need it.
            if len(hands) >= max(len(last.hands), 1) or self._limit.is_spent(count, time.monotonic() - start):
                break
        return hands[: self._max_hands]


def _load_bundled() -> BundledDetector:
    return BundledDetector(ProposalNet(), ProposalNet(SECOND_STAGE_DETECTOR, side_by_side=True).hands)


def _overlaps(detection: Detection, others: Sequence[Detection]) -> bool:
    return any(box_iou(detection.box, other.box) > _SAME_HAND for other in others)
