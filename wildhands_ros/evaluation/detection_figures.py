"""Figures of a detector: recall, precision, average precision, false hands, sides and calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..config import EstimatorConfig
from ..datasets.labels import LabelledHand
from ..geometry.boxes import box_iou
from ..types import Side
from .reliability import Bin, calibration_error, reliability

MIN_IOU, LOW_IOU = 0.5, 0.3
"""IoU with the true box above which a hand counts as found, and a lower one for boxes that were drawn by eye."""
MIN_SCORE = EstimatorConfig().min_score
"""Score from which hands are reported by default."""
SIZES = {"under 4 %": 0.04, "4 to 8 %": 0.08, "8 to 15 %": 0.15, "over 15 %": np.inf}
"""Upper limits of the size classes: longer side of the box relative to the width of the image."""
CLEAR = 0.4
"""A hand is in clear view if its visible pixels fill at least this fraction of its box, about that of a bare open
hand."""
_SAME_SIDE = 0.1
"""Bonus, in IoU, for the correct side when overlapping hands are matched."""
_DUPLICATE_IOU = 0.7


class Found(Protocol):
    """What is measured: a detection or an estimate."""

    @property
    def box(self) -> np.ndarray: ...

    @property
    def side(self) -> Side | None: ...

    @property
    def score(self) -> float: ...

    @property
    def side_score(self) -> float: ...


class ScoredHand(NamedTuple):
    """A detection of any score, and whether it is a hand."""

    score: float
    is_right: bool


class Counts:
    """Accumulates detections over images."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.true: Counter[str] = Counter()
        """Number of found hands and of all hands, by size class."""
        self.clear_found = self.clear = 0
        self.found_low = 0
        """Number of hands found at ``LOW_IOU``."""
        self.hits = self.hits_low = self.false = self.false_low = self.complete_hands = 0
        """Hands found, and false ones at either IoU, in images whose boxes are complete; and all hands in these."""
        self.right_side = self.with_side = 0
        self.sides: list[tuple[float, bool]] = []
        """Confidence in the side of each found hand of known side, and whether it is correct."""
        self.hand_free = self.hand_free_with_hands = self.false_in_hand_free = 0
        self.images = self.duplicates = 0
        self.seconds: list[float] = []
        self.scored: dict[float, list[ScoredHand]] = {MIN_IOU: [], LOW_IOU: []}
        """Detections of any score in images whose boxes are complete, by the IoU at which they are hands."""
        self.calibrated: list[ScoredHand] = []
        """The same at the IoU for which the boxes of their image are good."""

    def add(
        self,
        found: Sequence[Found],
        truths: Sequence[LabelledHand],
        width: int,
        complete: bool = True,
        hand_free: bool | None = None,
        candidates: Sequence[Found] | None = None,
        approximate: bool = False,
    ) -> None:
        """Add an image.

        Args:
            found: The reported hands.
            truths: The labelled hands.
            width: Width of the image in pixels.
            complete: Whether every hand is labelled, so that everything else that is found is false. Otherwise the
                image counts for recall alone.
            hand_free: Whether the image is verified to show no hand; None if that is unknown. By default, a complete
                image without labelled hands shows none.
            candidates: Detections of any score, for average precision and calibration.
            approximate: Whether the boxes are good for ``LOW_IOU`` only.
        """
        self.images += 1
        overlaps = _overlaps(found, truths)
        pairs, pairs_low = (_matched(overlaps, found, truths, least) for least in (MIN_IOU, LOW_IOU))
        for i, truth in enumerate(truths):
            if truth.ignore:
                continue
            share = (truth.box[2:] - truth.box[:2]).max() / width
            size = next(name for name, most in SIZES.items() if share <= most)
            self.true[size] += 1
            is_clear = truth.box_fill >= CLEAR
            self.clear += is_clear
            self.clear_found += is_clear and i in pairs
            self.found_low += i in pairs_low
            self.complete_hands += complete
            self.hits += complete and i in pairs
            self.hits_low += complete and i in pairs_low
            if i in pairs:
                self.found[size] += 1
            if (best := pairs_low.get(i) if approximate else pairs.get(i)) is not None:
                side, side_score = found[best].side, found[best].side_score
                if truth.side is not None and side is not None:
                    self.with_side += 1
                    self.right_side += side is truth.side
                    if np.isfinite(side_score):
                        self.sides.append((side_score, side is truth.side))
        self.duplicates += has_duplicates(found)
        if complete:
            excused = {j for j, hand in enumerate(found) if _is_excused(hand, truths)}
            self.false += len(set(range(len(found))) - set(pairs.values()) - excused)
            self.false_low += len(set(range(len(found))) - set(pairs_low.values()) - excused)
            self._add_candidates(candidates or (), truths, approximate)
        if hand_free or (hand_free is None and complete and not truths):
            self.hand_free += 1
            self.hand_free_with_hands += bool(found)
            self.false_in_hand_free += len(found)

    def _add_candidates(self, candidates: Sequence[Found], truths: Sequence[LabelledHand], approximate: bool) -> None:
        for least, scored in self.scored.items():
            hands = scored_hands(candidates, truths, least)
            scored += hands
            if least == (LOW_IOU if approximate else MIN_IOU):
                self.calibrated += hands

    def figures(self) -> dict:
        """Return the figures (see docs/evaluation.md); None where one does not apply."""
        found, true = self.found.total(), self.true.total()
        precisions = [
            _share(hits, hits + false) if self.complete_hands else None
            for hits, false in ((self.hits, self.false), (self.hits_low, self.false_low))
        ]
        sides = reliability([score for score, _ in self.sides], [right for _, right in self.sides])
        bins = reliability([hand.score for hand in self.calibrated], [hand.is_right for hand in self.calibrated])
        return {
            "recall": _share(found, true),
            "precision": precisions[0],
            "recall_30": _share(self.found_low, true),
            "precision_30": precisions[1],
            "average_precision": average_precision(self.scored[MIN_IOU], self.complete_hands),
            "average_precision_30": average_precision(self.scored[LOW_IOU], self.complete_hands),
            "side_accuracy": _share(self.right_side, self.with_side),
            "recall_in_clear_view": _share(self.clear_found, self.clear),
            "false_in_hand_free": _share(self.hand_free_with_hands, self.hand_free),
            "false_hands_per_hand_free": _share(self.false_in_hand_free, self.hand_free),
            "calibration_error": calibration_error(bins, MIN_SCORE),
            "side_calibration_error": calibration_error(sides),
            "ms_median": 1000 * float(np.median(self.seconds)) if self.seconds else None,
            "hands": true,
            "sides": self.with_side,
            "pictures": self.images,
            "hand_free_pictures": self.hand_free,
            "recall_by_size": {name: _share(self.found[name], self.true[name]) for name in SIZES},
            "hand_free_pictures_with_hands": _share(self.hand_free_with_hands, self.hand_free),
            "pictures_with_duplicates": self.duplicates,
            "calibration": [_as_dict(entry) for entry in bins],
            "side_calibration": [_as_dict(entry) for entry in sides],
            "precision_recall": precision_recall(self.scored[MIN_IOU], self.complete_hands),
        }


def has_duplicates(found: Sequence[Found]) -> bool:
    """Return whether one hand was found twice."""
    return any(
        a.side is b.side and box_iou(a.box, b.box) > _DUPLICATE_IOU for i, a in enumerate(found) for b in found[:i]
    )


def scored_hands(candidates: Sequence[Found], truths: Sequence[LabelledHand], least: float) -> list[ScoredHand]:
    """Match the detections of one image to its hands, best score first, as COCO does.

    Args:
        candidates: Detections of any score.
        truths: All hands of the image. Detections of ignored ones are left out.
        least: Minimum IoU.
    """
    result, free = [], {i for i, truth in enumerate(truths) if not truth.ignore}
    for hand in sorted(candidates, key=lambda candidate: -candidate.score):
        overlaps = {i: box_iou(hand.box, truths[i].box) for i in free}
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= least:
            free.remove(best)
            result.append(ScoredHand(float(hand.score), True))
        elif not _is_excused(hand, truths):
            result.append(ScoredHand(float(hand.score), False))
    return result


def precision_recall(scored: Sequence[ScoredHand], hands: int) -> list[tuple[float, float, float]]:
    """Return (score, recall, precision) for falling score thresholds, at most 100 of them.

    Args:
        scored: Detections over all images.
        hands: Number of true hands.
    """
    if not hands or not scored:
        return []
    scores, recall, precision = _curve(scored, hands)
    # Detections of one score are reported together or not at all.
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    chosen = last[np.unique(np.linspace(0, len(last) - 1, 100).round().astype(int))]
    return [(float(scores[i]), float(recall[i]), float(precision[i])) for i in chosen]


def average_precision(scored: Sequence[ScoredHand], hands: int) -> float | None:
    """Return the area under the precision-recall curve, in which precision is the best at this or a higher recall.

    Args:
        scored: Detections over all images.
        hands: Number of true hands.
    """
    if not hands:
        return None
    if not scored:
        return 0.0
    _, recall, precision = _curve(scored, hands)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _as_dict(entry: Bin) -> dict:
    return {
        "from": entry.low,
        "to": entry.high,
        "detections": entry.count,
        "mean_score": entry.mean_score,
        "share_of_hands": entry.share_right,
    }


def _curve(scored: Sequence[ScoredHand], hands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Of detections of one score, false ones first: the order of images must not matter.
    ranked = sorted(scored, key=lambda hand: (-hand.score, hand.is_right))
    right = np.cumsum([hand.is_right for hand in ranked])
    return np.array([hand.score for hand in ranked]), right / hands, right / np.arange(1, len(ranked) + 1)


def _overlaps(found: Sequence[Found], truths: Sequence[LabelledHand]) -> np.ndarray:
    return np.array([[box_iou(hand.box, truth.box) for hand in found] for truth in truths]).reshape(
        len(truths), len(found)
    )


def _matched(
    overlaps: np.ndarray, found: Sequence[Found], truths: Sequence[LabelledHand], least: float
) -> dict[int, int]:
    """Match true hands to found ones one to one; as many as possible, then with the largest IoU."""
    worth = overlaps + _SAME_SIDE * np.array([[hand.side is truth.side for hand in found] for truth in truths]).reshape(
        overlaps.shape
    )
    worth[overlaps < least] = 0
    # Hands that count come first: an ignored hand must not take a detection from them.
    worth += np.array([0.0 if truth.ignore else 1.0 for truth in truths]).reshape(-1, 1) * (overlaps >= least)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return {i: j for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if overlaps[i, j] >= least}


def _is_excused(hand: Found, truths: Sequence[LabelledHand]) -> bool:
    """Return whether the centre of a hand lies in an ignored one."""
    middle = (hand.box[:2] + hand.box[2:]) / 2
    return any(
        truth.ignore and bool((middle > truth.box[:2]).all() and (middle < truth.box[2:]).all()) for truth in truths
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
