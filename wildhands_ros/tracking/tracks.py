"""Tracks hands over time: which detection belongs to which hand of earlier frames, and which side that hand is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..types import Detection, HandEstimate, Side
from .assignment import cheapest_pairs

MAX_GAP = 0.5
"""Seconds for which a hand may be out of sight and keep its track."""

_REACH = 1.0
"""Maximum distance that a box moves between frames, in units of its longer side."""
_OTHER_SIDE = 0.7
"""Cost of a detection that is certainly of the other side, in the same units."""
_MEMORY = 0.9
"""Share of the evidence for a side that is kept from frame to frame."""
_SCORE_MEMORY = 0.8
"""Share of a track's score that is kept from frame to frame."""
_GRASP_MEMORY = 0.8
"""Share of a track's grasp probabilities that is kept from frame to frame."""
_MOST_EVIDENCE = 6.0
"""Limit of the evidence in log-odds; with more, a wrong side would be too hard to correct."""
_FIT_EVIDENCE = 1.0
"""Evidence of one fit that preferred a side, in log-odds."""


@dataclass(eq=False)
class Track:
    """One hand over time."""

    id: str
    """Name such as "hand_1". It never changes and is never given to another hand."""
    box: np.ndarray
    """(4,) last box in pixels."""
    stamp: float
    """Time of the last box in seconds."""
    velocity: np.ndarray
    """(2,) velocity of the box's centre in pixels per second."""
    evidence: float = 0.0
    """Log-odds that this is a right hand."""
    score: float = float("nan")
    """Confidence in [0, 1] that this is a hand, averaged over its last detections; NaN if unknown."""
    grasp_probabilities: np.ndarray | None = None
    """(9,) in the order of ``Grasp``, averaged over its last frames; None if unknown."""

    @property
    def side(self) -> Side | None:
        """The more likely side; None without evidence."""
        if self.evidence == 0:
            return None
        return Side.RIGHT if self.evidence > 0 else Side.LEFT

    @property
    def side_score(self) -> float:
        """Confidence in ``side``, 0.5 to 1."""
        return 1 / (1 + math.exp(-abs(self.evidence)))

    def confirm_side(self, side: Side) -> None:
        """Adds the evidence of a fit that tried both sides on this frame's keypoints and preferred one."""
        self._add_evidence(_FIT_EVIDENCE if side is Side.RIGHT else -_FIT_EVIDENCE, memory=1.0)

    def update(self, detection: Detection, stamp: float) -> None:
        """Continues the track with the detection of a new frame."""
        dt = stamp - self.stamp
        if dt > 0:
            self.velocity = (_centre(detection.box) - _centre(self.box)) / dt
        self.box, self.stamp = detection.box, stamp
        is_known = math.isfinite(self.score) and math.isfinite(detection.score)
        self.score = _SCORE_MEMORY * self.score + (1 - _SCORE_MEMORY) * detection.score if is_known else detection.score
        self._add_evidence(_log_odds_right(detection), _MEMORY)

    def add_grasp(self, probabilities: np.ndarray | None) -> np.ndarray | None:
        """Adds the (9,) grasp probabilities of a new frame, if they are known; returns their average."""
        before = self.grasp_probabilities
        if before is None:
            self.grasp_probabilities = probabilities
        elif probabilities is not None:
            self.grasp_probabilities = _GRASP_MEMORY * before + (1 - _GRASP_MEMORY) * probabilities
        return self.grasp_probabilities

    def _add_evidence(self, log_odds: float, memory: float) -> None:
        self.evidence = min(max(memory * self.evidence + log_odds, -_MOST_EVIDENCE), _MOST_EVIDENCE)


class HandTracks:
    """Assigns detections to hands by the position of their boxes and by their side."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._count = 0

    def update(self, detections: Sequence[Detection], stamp: float) -> list[Track]:
        """Assigns the detections of the next frame.

        Args:
            detections: All detections of one frame.
            stamp: Time of the frame in seconds. If time runs backwards, all tracks are dropped.

        Returns:
            The track of each detection, in the same order.
        """
        if any(stamp < track.stamp for track in self._tracks):
            self.reset()
        self._tracks = [track for track in self._tracks if stamp - track.stamp <= MAX_GAP]
        result = []
        for detection, track in zip(detections, self._match(detections, stamp), strict=True):
            if track is None:
                self._count += 1
                track = Track(id=f"hand_{self._count}", box=detection.box, stamp=stamp, velocity=np.zeros(2))
                self._tracks.append(track)
            track.update(detection, stamp)
            result.append(track)
        return result

    def reset(self) -> None:
        """Drops all tracks."""
        self._tracks = []

    def _match(self, detections: Sequence[Detection], stamp: float) -> list[Track | None]:
        """Finds the known track of each detection; None for new hands."""
        result: list[Track | None] = [None] * len(detections)
        if not self._tracks or not detections:
            return result
        far = 1e3
        costs = np.array([[_cost(track, detection, stamp) for track in self._tracks] for detection in detections])
        for row, column in cheapest_pairs(np.where(np.isfinite(costs), costs, far)):
            if np.isfinite(costs[row, column]):
                result[row] = self._tracks[column]
        return result


def track_number(id: str) -> int:
    """Returns the number in the id of a track; older tracks have smaller numbers. 0 for a hand without a track."""
    return int(id.rpartition("_")[2] or 0)


def hand_names(hands: Iterable[HandEstimate]) -> list[tuple[HandEstimate, str]]:
    """Gives each hand a name that is unique in its image: "right", "left", "right_2" and so on.

    Of several hands of one side, the one with the oldest track comes first.
    """
    seen: Counter[Side] = Counter()
    named = []
    for hand in sorted(hands, key=lambda hand: track_number(hand.track_id)):
        seen[hand.side] += 1
        rank = seen[hand.side]
        named.append((hand, hand.side.value if rank == 1 else f"{hand.side.value}_{rank}"))
    return named


def _cost(track: Track, detection: Detection, stamp: float) -> float:
    """Returns distance of the boxes plus disagreement of the sides; infinite if they cannot be the same hand."""
    # Plain numbers are several times as fast as arrays of two or four elements.
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = track.box.tolist(), detection.box.tolist()
    size = max(ax1 - ax0, ay1 - ay0, bx1 - bx0, by1 - by0, 1.0)
    dx, dy = (bx0 + bx1 - ax0 - ax1) / 2, (by0 + by1 - ay0 - ay1) / 2
    moved_x, moved_y = (track.velocity * (stamp - track.stamp)).tolist()
    # The last position counts as well, because the hand may have stopped.
    distance = min(math.hypot(dx - moved_x, dy - moved_y), math.hypot(dx, dy)) / size
    if distance > _REACH:
        return math.inf
    agreement = math.tanh(track.evidence / 2) * math.tanh(_log_odds_right(detection) / 2)
    return distance + _OTHER_SIDE * (1 - agreement) / 2


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _log_odds_right(detection: Detection) -> float:
    if detection.side is None:
        return 0.0
    # A side without a confidence is assumed to be correct nine times out of ten.
    score = min(max(0.9 if math.isnan(detection.side_score) else detection.side_score, 0.5), 0.99)
    odds = math.log(score / (1 - score))
    return odds if detection.side is Side.RIGHT else -odds
