"""Judges the estimates of a recording: what was seen, what to doubt, and what to train from.

Every estimate gets a ``HandQuality``. Its reasons for doubt come from the whole track, with past and future, and from
the hands of the other tracks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..config import QualityThresholds
from ..fitting.anatomy import LIMITS
from ..fitting.kinematics import HandKinematics
from ..geometry.camera import in_image
from ..hand_model.asset import HandAsset
from ..types import Doubt, FrameEstimate, HandEstimate, HandQuality, HandState, Side
from .reliability import probability_wrong
from .segments import AnnotatedFrame
from .tracks import RecordedTrack, are_comparable, side_evidence

_WINDOW = 1 / 6
"""Seconds before and after an estimate with which it is compared."""
_ACCELERATION_STEP = 0.1
"""Seconds between the three positions of an acceleration."""
_BEYOND_LIMIT = 0.35
"""Radians by which a finger joint may exceed its range of motion."""
_SAME_PLACE = 0.05
"""Metres between the wrists of two estimates of one hand."""


class TrackJudge:
    """Judges the tracks of a recording, then the hands of each frame.

    Args:
        hand_model: Hand model of the estimates.
        thresholds: When an estimate is doubted.
    """

    def __init__(self, hand_model: Mapping[Side, HandAsset], thresholds: QualityThresholds):
        self._thresholds = thresholds
        self._kinematics = {side: HandKinematics(hand_model[side].right_handed()) for side in Side}

    def doubts(self, track: RecordedTrack, frames: Sequence[AnnotatedFrame]) -> dict[int, Doubt]:
        """Returns the doubts about each estimate of a track, before it is interpolated and smoothed."""
        numbers = list(track.hands)
        hands = list(track.hands.values())
        stamps = np.array([frames[number].stamp for number in numbers])
        runs = _runs(numbers, frames)
        found = dict.fromkeys(numbers, Doubt.NONE)
        sizes = np.array([self._size(hand) for hand in hands])
        wrists = np.stack([track.wrists[number] for number in numbers])
        is_short = stamps[-1] - stamps[0] < self._thresholds.min_track
        doubtful_side = self._side_share(track) < self._thresholds.min_side
        wrong = probability_wrong(hands, stamps)
        moving = self._motion(stamps, wrists, runs)
        jumps = self._jumps(stamps, wrists, runs)
        for i, (number, hand) in enumerate(zip(numbers, hands, strict=True)):
            found[number] |= Doubt.JUMP if jumps[i] or is_short else Doubt.NONE
            found[number] |= Doubt.IMPLAUSIBLE_MOTION if moving[i] else Doubt.NONE
            found[number] |= Doubt.SIDE if doubtful_side else Doubt.NONE
            if wrong[i] > self._thresholds.max_wrong or hand.reprojection_error > self._thresholds.max_reprojection:
                found[number] |= Doubt.LOW_AGREEMENT
            change = abs(sizes[i] / np.median(sizes) - 1)
            if change > self._thresholds.max_size_change or self._beyond_limits(hand):
                found[number] |= Doubt.IMPLAUSIBLE_POSE
        return found

    def judged(self, frame: FrameEstimate) -> FrameEstimate:
        """Adds state and usability to the hands of a frame, which have their doubts.

        Of two hands of one side in one place, the one with the lower score is doubted.
        """
        qualities = []
        for number, hand in enumerate(frame.hands):
            quality = hand.quality or HandQuality(HandState.SEEN, Doubt.NONE, False)
            visibility = frame.visibility[number]
            inside = in_image(hand.joints_2d, frame.camera.width, frame.camera.height)
            state = quality.state
            if state is not HandState.INTERPOLATED:
                state = HandState.of(visibility, inside, self._thresholds.min_seen)
                if state is HandState.SEEN and hand.views and hand.keypoints is None:
                    state = HandState.HIDDEN  # Only other cameras have seen it.
            doubts = quality.doubts
            if any(_is_same(hand, other) and _is_weaker(hand, other) for other in frame.hands if other is not hand):
                doubts |= Doubt.SIDE
            is_seen = state in (HandState.SEEN, HandState.INTERPOLATED) or bool(hand.views)
            qualities.append(HandQuality(state, doubts, is_seen and not doubts))
        return frame.judged(qualities)

    def _side_share(self, track: RecordedTrack) -> float:
        evidence = np.array([side_evidence(hand) for hand in track.hands.values()])
        total = np.abs(evidence).sum()
        return float(np.abs(evidence.sum()) / total / 2 + 0.5) if total else 0.5

    def _size(self, hand: HandEstimate) -> float:
        return float(np.linalg.norm(hand.joints[9] - hand.joints[0]))

    def _beyond_limits(self, hand: HandEstimate) -> bool:
        mirror = np.array([1.0, -1, -1]) if hand.side is Side.LEFT else np.ones(3)
        pose = (np.reshape(hand.mano.hand_pose, (15, 3)) * mirror).ravel()
        angles = self._kinematics[hand.side].angles(pose).reshape(15, 3)
        beyond = np.maximum(LIMITS.low - angles, angles - LIMITS.high)
        return bool(beyond.max() > _BEYOND_LIMIT)

    def _jumps(self, stamps: np.ndarray, wrists: np.ndarray, runs: np.ndarray) -> np.ndarray:
        """Returns (N,) whether each wrist is far from the median of those around it."""
        far = np.zeros(len(stamps), bool)
        starts, stops = np.searchsorted(stamps, stamps - _WINDOW), np.searchsorted(stamps, stamps + _WINDOW, "right")
        for i, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            near = wrists[start:stop][runs[start:stop] == runs[i]]
            if len(near) >= 3:
                far[i] = np.linalg.norm(wrists[i] - np.median(near, axis=0)) > self._thresholds.max_jump
        return far

    def _motion(self, stamps: np.ndarray, wrists: np.ndarray, runs: np.ndarray) -> np.ndarray:
        """Returns (N,) whether each wrist moves faster, or is accelerated more, than a hand."""
        wrong = np.zeros(len(stamps), bool)
        if len(stamps) < 2:
            return wrong
        steps, same = np.maximum(np.diff(stamps), 1e-3), np.diff(runs) == 0
        fast = same & (np.linalg.norm(np.diff(wrists, axis=0), axis=1) / steps > self._thresholds.max_speed)
        wrong[1:] |= fast
        wrong[:-1] |= fast
        before = np.searchsorted(stamps, stamps - _ACCELERATION_STEP)
        after = np.searchsorted(stamps, stamps + _ACCELERATION_STEP, "right") - 1
        inner = (runs[before] == runs) & (runs[after] == runs)
        first, second = stamps - stamps[before], stamps[after] - stamps
        inner &= (first > _ACCELERATION_STEP / 2) & (second > _ACCELERATION_STEP / 2)
        velocities = (
            (wrists - wrists[before]) / np.maximum(first, 1e-3)[:, None],
            (wrists[after] - wrists) / np.maximum(second, 1e-3)[:, None],
        )
        change = np.linalg.norm(velocities[1] - velocities[0], axis=1) / np.maximum((first + second) / 2, 1e-3)
        return wrong | (inner & (change > self._thresholds.max_acceleration))


def _runs(numbers: Sequence[int], frames: Sequence[AnnotatedFrame]) -> np.ndarray:
    """Returns (N,) the number of the run of each frame; positions of different runs cannot be compared."""
    breaks = [not are_comparable(frames[a], frames[b]) for a, b in pairwise(numbers)]
    return np.concatenate([[0], np.cumsum(breaks)]).astype(int)


def _is_same(hand: HandEstimate, other: HandEstimate) -> bool:
    return bool(np.linalg.norm(hand.joints[0] - other.joints[0]) < _SAME_PLACE and hand.side is other.side)


def _is_weaker(hand: HandEstimate, other: HandEstimate) -> bool:
    return (np.nan_to_num(hand.score), hand.track_id) < (np.nan_to_num(other.score), other.track_id)
