"""Hands over time: which detection is which hand of the frames before, and which side it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..geometry.boxes import hand_box
from ..types import Detection, FrameEstimate, HandEstimate, Side

MAX_GAP = 0.5
"""Seconds that a hand may be out of sight and still be the same."""

_REACH = 1.0
"""How far a box may jump between frames, in units of its longer side."""
_OTHER_SIDE = 0.7
"""What a detection of the surely other side costs, in the same units."""
_MEMORY = 0.9
"""Part of the evidence for a side that is left after each frame."""
_MOST_EVIDENCE = 6.0
"""Log-odds; more would make a wrong side too hard to leave."""
_FIT_EVIDENCE = 1.0
"""Log-odds of one fit that preferred a side."""


@dataclass(eq=False)
class Track:
    """One hand over time."""

    id: str
    """As "hand_1": never changes, and is never given to another hand."""
    box: np.ndarray
    """(4,) pixels, when last seen."""
    stamp: float
    """Seconds, when last seen."""
    velocity: np.ndarray
    """(2,) of the box's centre, pixels per second."""
    evidence: float = 0.0
    """Log-odds that this is a right hand."""

    @property
    def side(self) -> Side | None:
        if self.evidence == 0:
            return None
        return Side.RIGHT if self.evidence > 0 else Side.LEFT

    @property
    def side_score(self) -> float:
        """Confidence in ``side``, 0.5 to 1."""
        return float(1 / (1 + np.exp(-abs(self.evidence))))


class HandTracks:
    """Follows hands from frame to frame by the place of their boxes and by their side."""

    def __init__(self):
        self._tracks: list[Track] = []
        self._count = 0

    def update(self, detections: Sequence[Detection], stamp: float) -> list[Track]:
        """Takes the detections of the next frame.

        Args:
            detections: of one frame.
            stamp: its time in seconds. Time that runs back starts anew.

        Returns:
            The track of each detection, in their order.
        """
        if any(stamp < track.stamp for track in self._tracks):
            self.reset()
        self._tracks = [track for track in self._tracks if stamp - track.stamp <= MAX_GAP]
        known = self._match(detections, stamp)
        result = []
        for detection, track in zip(detections, known, strict=True):
            if track is None:
                self._count += 1
                track = Track(id=f"hand_{self._count}", box=detection.box, stamp=stamp, velocity=np.zeros(2))
                self._tracks.append(track)
            else:
                dt = stamp - track.stamp
                if dt > 0:
                    track.velocity = (_centre(detection.box) - _centre(track.box)) / dt
                track.box, track.stamp = detection.box, stamp
            self._add_evidence(track, _log_odds_right(detection))
            result.append(track)
        return result

    def confirm_side(self, track: Track, side: Side) -> None:
        """Tells that a fit of both sides to this frame's keypoints preferred one."""
        self._add_evidence(track, _FIT_EVIDENCE if side is Side.RIGHT else -_FIT_EVIDENCE, memory=1.0)

    def reset(self) -> None:
        """Forgets all hands."""
        self._tracks = []

    def _match(self, detections: Sequence[Detection], stamp: float) -> list[Track | None]:
        result: list[Track | None] = [None] * len(detections)
        if not self._tracks or not detections:
            return result
        far = 1e3
        costs = np.array([[_cost(track, detection, stamp) for track in self._tracks] for detection in detections])
        rows, columns = linear_sum_assignment(np.where(np.isfinite(costs), costs, far))
        for row, column in zip(rows, columns, strict=True):
            if np.isfinite(costs[row, column]):
                result[row] = self._tracks[column]
        return result

    def _add_evidence(self, track: Track, log_odds: float, memory: float = _MEMORY) -> None:
        track.evidence = float(np.clip(memory * track.evidence + log_odds, -_MOST_EVIDENCE, _MOST_EVIDENCE))


def track_number(id: str) -> int:
    """The number in a track's id: older tracks have smaller ones. 0 for a hand without a track."""
    return int(id.rpartition("_")[2] or 0)


def hand_names(hands: Iterable[HandEstimate]) -> list[tuple[HandEstimate, str]]:
    """Each hand with a name that is its own in the image: "right", "left", "right_2", ...; of one side the longest known comes first."""
    seen: Counter = Counter()
    named = []
    for hand in sorted(hands, key=lambda hand: track_number(hand.track_id)):
        seen[hand.side] += 1
        rank = seen[hand.side]
        named.append((hand, hand.side.value if rank == 1 else f"{hand.side.value}_{rank}"))
    return named


def last_hands(frame: FrameEstimate) -> list[Detection]:
    """The hands of the last frame as detections, for the next one where no detector says anything.

    Keypoints are the projected joints, boxes those of the hands around, cut off at the image's edge; hands outside of it are left out.
    """
    last = np.array([frame.camera.width - 1, frame.camera.height - 1], dtype=np.float64)
    detections = []
    for hand in frame.hands:
        corners = np.stack([hand.joints_2d.min(0), hand.joints_2d.max(0)])
        if not np.isfinite(corners).all() or (corners[0] >= last).any() or (corners[1] <= 0).any():
            continue
        box = hand_box(hand.joints_2d, frame.camera.width, frame.camera.height)
        detections.append(
            Detection(box, hand.side, hand.score, hand.side_score, keypoints=hand.joints_2d, box_is_own=False)
        )
    return detections


def _cost(track: Track, detection: Detection, stamp: float) -> float:
    """Distance of the boxes and disagreement of the sides; infinite where they cannot be the same hand."""
    size = max(np.max(track.box[2:] - track.box[:2]), np.max(detection.box[2:] - detection.box[:2]), 1.0)
    expected = _centre(track.box) + track.velocity * (stamp - track.stamp)
    centre = _centre(detection.box)
    # The hand may also have stopped.
    distance = min(np.linalg.norm(centre - expected), np.linalg.norm(centre - _centre(track.box))) / size
    if distance > _REACH:
        return np.inf
    agreement = np.tanh(track.evidence / 2) * np.tanh(_log_odds_right(detection) / 2)
    return float(distance + _OTHER_SIDE * (1 - agreement) / 2)


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _log_odds_right(detection: Detection) -> float:
    if detection.side is None:
        return 0.0
    # A detector that names a side without a confidence is taken to be right nine times out of ten.
    score = np.clip(0.9 if np.isnan(detection.side_score) else detection.side_score, 0.5, 0.99)
    odds = float(np.log(score / (1 - score)))
    return odds if detection.side is Side.RIGHT else -odds
