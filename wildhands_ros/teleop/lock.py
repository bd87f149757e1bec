"""Selects the hand that moves the robot and keeps it, even among several people and when sides are confused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import Side
from .observation import HandObservation

REACH = 0.15
"""Metres within which a hand of another track is considered the hand of the previous image."""
TRACK_REACH = 0.3
"""Metres within which a hand of the same track is accepted; farther away, the track has moved to another hand."""


class HandLock:
    """Selects the operator's hand of one side among the hands of each image."""

    def __init__(self, side: Side):
        self._side = side
        self._last: HandObservation | None = None

    def release(self) -> None:
        """Forgets the hand; the next one may be another person's."""
        self._last = None

    def pick(self, hands: Sequence[HandObservation]) -> HandObservation | None:
        """Returns the operator's hand; None if it is not among ``hands``, which must not contain NaN."""
        candidates = [hand for hand in hands if hand.side is self._side]
        if self._last is None:
            # The highest score. Among equal scores it is the first hand: detectors list larger or older ones first.
            chosen = max(candidates, key=lambda hand: np.nan_to_num(hand.score, nan=0.0), default=None)
        else:
            chosen = self._same_hand(self._last, candidates)
        if chosen is not None:
            self._last = chosen
        return chosen

    @staticmethod
    def _same_hand(last: HandObservation, candidates: list[HandObservation]) -> HandObservation | None:
        distances = [float(np.linalg.norm(hand.wrist.position - last.wrist.position)) for hand in candidates]
        for hand, distance in zip(candidates, distances, strict=True):
            if last.track and hand.track == last.track:
                return hand if distance <= TRACK_REACH else None
        if not candidates:
            return None
        nearest = int(np.argmin(distances))
        return candidates[nearest] if distances[nearest] <= REACH else None
