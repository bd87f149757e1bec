"""The pass backwards in time: hands before the frames in which the pass forwards found them.

A hand that enters the image, or comes out from behind something, is found only when enough of it is seen. Followed
backwards from there, it is recognised in earlier frames too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..geometry.boxes import box_iou
from ..types import HandEstimate
from .estimation import Span
from .segments import AnnotatedFrame

REACH = 15
"""Frames before a track in which its hand is looked for."""
OVERLAP = 5
"""Frames of a track from which it is followed backwards."""
SAME_HAND = 0.1
"""Metres between the wrists of two estimates of one frame, below which they are the same hand."""
_SAME_PLACE = 0.3
"""Overlap of boxes above which two hands of one frame are the same."""
_MIN_SCORE = 0.5
"""Score below which a hand that only this pass found is left out."""


def spans_before_tracks(frames: Iterable[AnnotatedFrame]) -> list[Span]:
    """Returns the spans to estimate backwards: around the first frame of each track, joined where they overlap."""
    seen: set[str] = set()
    starts: list[int] = []
    indices: list[int] = []
    for frame in frames:
        names = {hand.track_id for hand in frame.estimate.hands if hand.track_id}
        if names - seen and indices:
            starts.append(len(indices))
        seen |= names
        indices.append(frame.index)
    spans: list[Span] = []
    for start in starts:
        first = indices[max(start - REACH, 0)]
        last = indices[min(start + OVERLAP - 1, len(indices) - 1)]
        if spans and first <= spans[-1].last:
            spans[-1] = Span(spans[-1].first, last)
        else:
            spans.append(Span(first, last))
    return spans


def add_backwards(frames: list[AnnotatedFrame], backwards: Sequence[AnnotatedFrame]) -> None:
    """Adds the hands of a pass backwards to the frames in which the pass forwards has not found them.

    Args:
        frames: all frames of the pass forwards, in order of their indices, which are replaced where hands are added.
        backwards: a span of frames, in order of their indices.
    """
    names: dict[str, str] = {}
    for frame in reversed(backwards):
        number = bisect_left(frames, frame.index, key=lambda each: each.index)
        if number == len(frames) or frames[number].index != frame.index:
            continue
        known = list(frames[number].estimate.hands)
        for hand in frame.estimate.hands:
            match = next((other for other in known if _is_same(hand, other)), None)
            if match is not None:
                names[hand.track_id] = match.track_id
                continue
            name = names.get(hand.track_id)
            if name is None or any(other.track_id == name for other in known):
                continue
            if hand.score >= _MIN_SCORE and not _is_taken(hand, known):
                known.append(replace(hand, track_id=name))
        estimate = replace(frames[number].estimate, hands=tuple(known))
        frames[number] = replace(frames[number], estimate=estimate)


def _is_same(hand: HandEstimate, other: HandEstimate) -> bool:
    return hand.side is other.side and float(np.linalg.norm(hand.joints[0] - other.joints[0])) < SAME_HAND


def _is_taken(hand: HandEstimate, known: Sequence[HandEstimate]) -> bool:
    """Returns whether another hand is in the place of this one."""
    return any(box_iou(hand.box, other.box) > _SAME_PLACE for other in known)
