"""Whose hand moves the robot: one hand is chosen and held on to, among several people and in spite of swapped sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import Side
from .observation import HandObservation

REACH = 0.15
"""Metres within which a hand without a known track counts as the one of the frame before."""
TRACK_REACH = 0.3
"""Metres within which a known track is believed: farther away it has gone over to another hand."""


class HandLock:
    """Picks the operator's hand of one side out of each frame's hands."""

    def __init__(self, side: Side):
        self._side = side
        self._last: HandObservation | None = None

    def release(self) -> None:
        """The next hand may be anyone's."""
        self._last = None

    def pick(self, hands: Sequence[HandObservation]) -> HandObservation | None:
        """The operator's hand; None where it is not among them. Hands must be free of NaN."""
        candidates = [hand for hand in hands if hand.side is self._side]
        if self._last is None:
            # Whoever is surest; of equals the first, which is the larger or the older in every detector's order.
            chosen = max(candidates, key=lambda hand: np.nan_to_num(hand.score, nan=0.0), default=None)
        else:
            chosen = self._same(candidates)
        if chosen is not None:
            self._last = chosen
        return chosen

    def _same(self, candidates: list[HandObservation]) -> HandObservation | None:
        last = self._last
        distances = [float(np.linalg.norm(hand.wrist.position - last.wrist.position)) for hand in candidates]
        for hand, distance in zip(candidates, distances, strict=True):
            if last.track and hand.track == last.track:
                return hand if distance <= TRACK_REACH else None
        nearest = min(zip(distances, candidates, strict=True), key=lambda pair: pair[0], default=(np.inf, None))
        return nearest[1] if nearest[0] <= REACH else None
