"""The hands of a recording as tracks, which are joined over gaps and get one side each.

Past and future are known, so a track is judged as a whole: its side is the one that most of its evidence is for, and
its frames with the other side are fitted again. Wrists are compared in the fixed frame where the camera's pose is
known, so that a turn of the head does not tear a track apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import numpy as np

from ..geometry.pose import Pose
from ..types import HandEstimate, Side
from .segments import AnnotatedFrame

LONGEST_JOIN = 1.0
"""Seconds without the hand over which two tracks are joined."""
_NEAR, _SPEED = 0.06, 0.8
"""Two tracks are joined if the hand moves at most so many metres, and so many more per second of the gap."""
_OTHER_SIDE = 0.5
"""Factor on that distance if the two tracks were taken for hands of different sides."""
_SHORTEST_RUN = 8
"""Frames of one side that are more than a flip of the side."""
_SURE = 10.0
"""Evidence from which on the side of a track is not doubted."""
_ONE_OF_EACH = 2.0
"""Log-odds of each frame that two hands in it are a right and a left one."""
_MOST_EVIDENCE = 4.6
"""Largest evidence of one frame for a side, in log-odds: a confidence of 0.99."""


@dataclass
class RecordedTrack:
    """One hand of a recording."""

    hands: dict[int, HandEstimate] = field(default_factory=dict)
    """Its estimates in the camera frame by the number of the frame, in order."""
    wrists: dict[int, np.ndarray] = field(default_factory=dict)
    """(3,) wrist in the fixed frame, or in the camera frame if its pose is unknown."""
    side: Side = Side.RIGHT
    """Set by ``decide_sides``."""

    @property
    def first(self) -> int:
        return next(iter(self.hands))

    @property
    def last(self) -> int:
        return next(reversed(self.hands))

    @property
    def evidence(self) -> float:
        """Log-odds that this is a right hand, summed over all frames."""
        return sum(map(side_evidence, self.hands.values()))


def side_evidence(hand: HandEstimate) -> float:
    """Returns the log-odds of one estimate that it is a right hand."""
    score = 0.9 if np.isnan(hand.side_score) else hand.side_score
    odds = float(np.log(score / (1 - score))) if score < 0.99 else _MOST_EVIDENCE
    return max(odds, 0.0) if hand.side is Side.RIGHT else -max(odds, 0.0)


def pose_of(frame: AnnotatedFrame) -> Pose:
    """Returns the pose of the camera; the identity if it is unknown."""
    return frame.camera_pose.pose if frame.camera_pose is not None else Pose.identity()


def are_comparable(first: AnnotatedFrame, second: AnnotatedFrame) -> bool:
    """Returns whether positions of two frames are in the same fixed frame, without a jump between them."""
    one, other = first.camera_pose, second.camera_pose
    return (one is None) == (other is None) and (one is None or other is None or one.piece == other.piece)


def recorded_tracks(frames: Sequence[AnnotatedFrame]) -> list[RecordedTrack]:
    """Returns the tracks of all frames, joined over gaps, in the order of their first frames."""
    tracks: dict[str, RecordedTrack] = {}
    for number, frame in enumerate(frames):
        pose = pose_of(frame)
        for place, hand in enumerate(frame.estimate.hands):
            track = tracks.setdefault(hand.track_id or f"{number}/{place}", RecordedTrack())
            track.hands[number] = hand
            track.wrists[number] = pose.apply(hand.joints[0])
    joined = _joined([part for track in tracks.values() for part in _split_by_side(track)], frames)
    decide_sides(joined)
    return joined


def _split_by_side(track: RecordedTrack) -> list[RecordedTrack]:
    """Splits a track where its side changes for good: it went over from one hand to the other when they crossed."""
    parts: list[RecordedTrack] = []
    for _, run in groupby(track.hands.items(), key=lambda item: item[1].side):
        part = RecordedTrack(dict(run))
        if parts and not _is_other_hand(parts[-1], part):
            parts[-1].hands.update(part.hands)
        else:
            parts.append(part)
    for part in parts:
        part.wrists = {number: track.wrists[number] for number in part.hands}
    return parts


def _is_other_hand(part: RecordedTrack, following: RecordedTrack) -> bool:
    """Returns whether two parts of a track are of different hands; a short one is only a flip of the side."""
    is_flip = min(len(part.hands), len(following.hands)) < _SHORTEST_RUN
    return not is_flip and part.evidence * following.evidence < 0


def decide_sides(tracks: Sequence[RecordedTrack]) -> None:
    """Gives each track one side: that of its evidence, and of two hands in the same frames rather one of each.

    The surest tracks are decided first.
    """
    decided: list[RecordedTrack] = []
    for track in sorted(tracks, key=lambda track: -abs(track.evidence)):
        evidence = track.evidence
        for other in decided:
            if track.first > other.last or other.first > track.last:
                continue
            together = len(track.hands.keys() & other.hands.keys())
            evidence += _ONE_OF_EACH * together * (-1 if other.side is Side.RIGHT else 1)
        track.side = Side.RIGHT if evidence >= 0 else Side.LEFT
        decided.append(track)


def renamed(tracks: Sequence[RecordedTrack]) -> dict[str, RecordedTrack]:
    """Names tracks by their side and their order, such as "right_1"."""
    return {f"{track.side.value}_{number}": track for number, track in enumerate(tracks, start=1)}


def hands_by_frame(tracks: Mapping[str, RecordedTrack], count: int) -> list[list[HandEstimate]]:
    """Returns the hands of each of ``count`` frames, which get the names of their tracks."""
    hands: list[list[HandEstimate]] = [[] for _ in range(count)]
    for name, track in tracks.items():
        for number, hand in track.hands.items():
            hands[number].append(replace(hand, track_id=name))
    return hands


def _joined(tracks: list[RecordedTrack], frames: Sequence[AnnotatedFrame]) -> list[RecordedTrack]:
    """Joins tracks that end and begin near to each other, the nearest first."""
    while True:
        costs = [
            (cost, i, j)
            for i, before in enumerate(tracks)
            for j, after in enumerate(tracks)
            if before.last < after.first and (cost := _cost(before, after, frames)) < 1
        ]
        if not costs:
            return tracks
        used: set[int] = set()
        for _, i, j in sorted(costs):
            if i in used or j in used:
                continue
            used |= {i, j}
            tracks[i].hands.update(tracks[j].hands)
            tracks[i].wrists.update(tracks[j].wrists)
            tracks[j] = RecordedTrack()
        tracks = [track for track in tracks if track.hands]


def _cost(before: RecordedTrack, after: RecordedTrack, frames: Sequence[AnnotatedFrame]) -> float:
    """Returns the distance between the end of a track and the beginning of another, over the largest one allowed."""
    last, first = frames[before.last], frames[after.first]
    gap = first.stamp - last.stamp
    if not 0 <= gap <= LONGEST_JOIN or not are_comparable(last, first):
        return np.inf
    start, end = before.wrists[before.last], after.wrists[after.first]
    # The hand may keep moving or stop.
    moved = start + gap * _velocity(before, frames, before.last)
    distance = min(np.linalg.norm(end - start), np.linalg.norm(end - moved))
    evidences = before.evidence, after.evidence
    are_opposed = evidences[0] * evidences[1] < 0
    if are_opposed and min(map(abs, evidences)) > _SURE:
        return np.inf
    allowed = (_NEAR + _SPEED * gap) * (_OTHER_SIDE if are_opposed else 1)
    return float(distance) / allowed


def _velocity(track: RecordedTrack, frames: Sequence[AnnotatedFrame], number: int) -> np.ndarray:
    """Returns the (3,) velocity of the wrist before a frame, in metres per second; zero if it is unknown."""
    numbers = [each for each in track.wrists if each <= number][-4:]
    if len(numbers) < 2 or not all(are_comparable(frames[a], frames[b]) for a, b in pairwise(numbers)):
        return np.zeros(3)
    seconds = frames[numbers[-1]].stamp - frames[numbers[0]].stamp
    return (track.wrists[numbers[-1]] - track.wrists[numbers[0]]) / max(seconds, 1e-3)
