"""Verifies proposals: the second stage examines each, then the landmark network, and all scores together decide.

The cost grows with what a proposal promises: one crop of the second stage for each place, a second crop and the
landmark network for the places where the first one showed a hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from ..geometry.boxes import box_area, box_iou, box_ious, box_overlap
from ..geometry.camera import Camera
from ..runtime.threads import inference_threads
from ..types import Detection, Side
from .duplicates import same_hand, without_duplicates
from .landmarks import LandmarkInference, infer_around_keypoints
from .logits import logit, sigmoid
from .proposals import Proposal
from .windows import SECOND_STAGE_SIDE, Window

Propose = Callable[[np.ndarray, Window], list[Proposal]]
"""Returns the proposals for a window of an (H, W, 3) uint8 image."""

WEIGHTS, BIAS = np.array([1.29, 0.78, 0.53, 0.24, 1.19]), -0.4
"""Logistic regression of a hand on ``Candidate.features``, fitted to the validation and training splits of real images
by ``tools/fit_acceptance.py``. The bias is 0.5 above the fitted one, for recall: on the validation split it costs
hardly any precision, and a hand of two that grip each other would be lost.
"""
BY_APPEARANCE, BY_APPEARANCE_BIAS = np.array([1.0, 1.4, 0.0, 0.5, 0.5]), -0.6
"""A second rule, without the landmark network, for gloved hands, which it does not recognise and of which the split has
none: there it adds one false hand to 390 places."""
_CROPS = (1.8, 2.2)
"""Sides of the second stage's crops relative to the hand's: around the proposal, then around what the first crop shows.
"""
_SAME_PLACE = 0.25
"""Minimum IoU of a place and what the second stage finds there."""
_SAME_PROPOSAL = 0.55
"""IoU above which two proposals are of one place."""
_LEAST_PRESENCE = 0.1
"""Presence below which it is no further evidence against a hand, because that of gloved hands is arbitrary."""
_WORTH_REFINING = 0.1
"""Minimum presence for a second forward pass of the landmark network, with a crop that fits the keypoints."""
_SUPPRESSED = 0.3
"""IoU with a hand that is known above which a proposal is suppressed."""
_SAME_SEEN, _WITHIN = 0.5, 0.8
"""Two hands are one if their IoU, or the share of the smaller box that lies in the other one, exceeds these."""
_KEEPS = 0.8
"""The second forward pass replaces the first one unless its presence is less than this share of the first one's."""
_BOX_SCALE, _BOX_TRUST = 0.95, 0.25
"""Scale of the second stage's boxes, which are a little too large, and weight of the presence's logit when they are
averaged with those of the keypoints."""
_SEEN = 0.3
"""Presence from which the keypoints tell where the hand is."""

_score = attrgetter("score")


Seen = dict[Window, list[Proposal]]
"""Output of the second stage in windows of one image."""


class Effort(NamedTuple):
    """How much work goes into the proposals of one image."""

    proposals: int
    """Maximum number of places that the second stage examines."""
    hands: int
    """Maximum number of places at which the landmark network looks for a hand."""
    least_score: float
    """Minimum score of a proposal."""
    least_evidence: float
    """Minimum evidence of the first two features, weighted as in the rule, for the landmark network to look there."""


STILL = Effort(8, 8, 0.15, -2.2)
"""For a single image. One or two places of an image have more evidence."""
THOROUGH = Effort(12, 3, 0.1, -3.1)
"""For a single image in which nothing was found."""
STREAM = Effort(4, 2, 0.2, -1.85)
"""For an image of a stream without known hands."""
FOLLOWING = Effort(2, 1, 0.3, -0.95)
"""For an image of a stream with known hands."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A place in an image that may show a hand, as each network sees it."""

    proposal: Proposal
    crops: tuple[Proposal, ...]
    """What the second stage shows in its crops, of those in which it shows a hand."""
    hand: Detection
    """Output of the landmark network, whose score is the presence."""

    @property
    def place(self) -> Proposal:
        """Where the hand is without its keypoints."""
        return _place(self.proposal, self.crops)

    @property
    def features(self) -> np.ndarray:
        """(5,) evidence for a hand: logits of the first stage, the second stage and the presence, and how far the
        boxes of the second stage agree with each other and with the keypoints, as IoU."""
        agreement = box_iou(self.crops[0].box, self.crops[-1].box) if len(self.crops) == len(_CROPS) else 0.0
        presence = max(self.hand.score, _LEAST_PRESENCE)
        logits = _evidence([self.proposal.score, _second_stage_score(self.crops), presence])
        return np.array([*logits, agreement, box_iou(self.place.box, self.hand.box)])

    @property
    def probability(self) -> float:
        """Calibrated probability of a hand."""
        return _probability(self.features)


_Places = list[tuple[Proposal, tuple[Proposal, ...]]]
"""Proposals, and what the second stage shows there."""


class ProposalVerifier:
    """Decides which proposals are hands. Not thread-safe.

    Args:
        second_stage: Second-stage detector, for a crop around a proposal. Several threads call it at once.
        infer: Landmark network.
        min_score: Minimum probability of a hand.
    """

    def __init__(self, second_stage: Propose, infer: LandmarkInference, min_score: float):
        self._second_stage, self._infer, self._min_score = second_stage, infer, min_score
        self._pool = ThreadPoolExecutor(inference_threads())

    def verify(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        proposals: Sequence[Proposal],
        found: Sequence[Detection],
        effort: Effort,
        seen: Seen | None = None,
    ) -> list[Detection]:
        """Adds the hands among the proposals to those that are found already.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of the image.
            proposals: Proposals in this image.
            found: Hands that are known in this image, with keypoints.
            effort: How many proposals to verify.
            seen: What the second stage showed in this image when ``verify`` was called before, to which this call adds.

        Returns:
            All hands, best first.
        """
        size = image_rgb.shape[1], image_rgb.shape[0]
        hands = [
            hand_of(candidate, *size)
            for candidate in self.candidates(image_rgb, camera, proposals, found, effort, seen)
            if candidate.probability >= self._min_score
        ]
        hands = [hand for hand in hands if not any(same_hand(hand, other) for other in found)]
        return without_duplicates([*found, *hands])

    def candidates(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        proposals: Sequence[Proposal],
        found: Sequence[Detection],
        effort: Effort,
        seen: Seen | None = None,
    ) -> list[Candidate]:
        """Returns the places at which the landmark network looked for a hand; arguments are those of ``verify``."""
        proposals = [proposal for proposal in proposals if proposal.score >= effort.least_score]
        places = _without_same(proposals, [hand.box for hand in found], effort.proposals)
        seen = {} if seen is None else seen
        self._examine(image_rgb, [_crop(place.box, _CROPS[0]) for place in places], seen)
        first = [(place, _shown(place.box, _CROPS[0], seen)) for place in places]
        promising = _promising(_best_of_each_place(first), effort)
        self._examine(image_rgb, [_crop(shown[0].box, _CROPS[1]) for _, shown in promising if shown], seen)
        crops = [(place, shown and (*shown, *_shown(shown[0].box, _CROPS[1], seen))) for place, shown in promising]
        hands = self._landmarks(image_rgb, camera, crops)
        candidates = [
            Candidate(place, shown, hand) for (place, shown), hand in zip(crops, hands, strict=True) if hand is not None
        ]
        return _without_same_hands(candidates, image_rgb.shape[1], image_rgb.shape[0])

    def _examine(self, image_rgb: np.ndarray, crops: Iterable[Window], seen: Seen) -> None:
        """Runs the second stage on those crops that it has not seen yet, side by side."""
        new = [crop for crop in dict.fromkeys(crops) if crop not in seen]
        seen.update(zip(new, self._pool.map(partial(self._second_stage, image_rgb), new), strict=True))

    def _landmarks(self, image_rgb: np.ndarray, camera: Camera, crops: _Places) -> list[Detection | None]:
        """Returns what the landmark network finds at each place.

        It starts at the place of the higher score. Where it recognises nothing it tries the other one: the second
        stage's box may be of a part of the hand, or the proposal badly aimed. Where it is worth it, a second forward
        pass follows, with a crop that fits the keypoints.
        """
        starts = [sorted((place, _place(place, shown)), key=_score)[::-1] for place, shown in crops]
        hands = self._inferred(image_rgb, camera, [best for best, _ in starts])
        again = [i for i, hand in enumerate(hands) if hand is not None and hand.score < _SEEN and crops[i][1]]
        for i, hand in zip(again, self._inferred(image_rgb, camera, [starts[i][1] for i in again]), strict=True):
            hands[i] = _better(hands[i], hand, 1.0)
        promising = [
            (i, hand.keypoints)
            for i, hand in enumerate(hands)
            if hand is not None and hand.keypoints is not None and hand.score >= _WORTH_REFINING
        ]
        refined = infer_around_keypoints(self._infer, image_rgb, camera, [points for _, points in promising])
        for (i, _), hand in zip(promising, refined, strict=True):
            hands[i] = _better(hands[i], hand, _KEEPS)
        return hands

    def _inferred(self, image_rgb: np.ndarray, camera: Camera, places: Sequence[Proposal]) -> list[Detection | None]:
        if not places:
            return []
        squares = np.stack([_square(place.box) for place in places])
        return self._infer(image_rgb, camera, squares, np.array([place.turn for place in places]))


def _crop(box: np.ndarray, scale: float) -> Window:
    """Returns the second stage's crop around a place, ``scale`` times as large."""
    side = scale * (box[2:] - box[:2]).max()
    x, y = (box[:2] + box[2:]) / 2 - side / 2
    return Window(x, y, side, side, SECOND_STAGE_SIDE**2)


def _shown(box: np.ndarray, scale: float, seen: Seen) -> tuple[Proposal, ...]:
    """Returns the best hand that the second stage shows at a place in a crop around it, or nothing."""
    there = [proposal for proposal in seen[_crop(box, scale)] if box_iou(proposal.box, box) > _SAME_PLACE]
    return (max(there, key=_score),) if there else ()


def _better(before: Detection | None, after: Detection | None, least_ratio: float) -> Detection | None:
    """Returns the later output unless its presence is less than a share of the earlier one's."""
    if before is None or after is None:
        return before or after
    return after if after.score >= least_ratio * before.score else before


def _without_same(proposals: Sequence[Proposal], known: Sequence[np.ndarray], most: int) -> list[Proposal]:
    """Suppresses proposals at places of known boxes and of better proposals; returns the best ``most``."""
    ranked = sorted(proposals, key=_score, reverse=True)
    boxes = np.array([proposal.box for proposal in ranked]).reshape(-1, 4)
    rest = np.arange(len(ranked))
    for box in known:
        rest = rest[box_ious(boxes[rest], box) <= _SUPPRESSED]
    kept: list[Proposal] = []
    while len(rest) and len(kept) < most:
        best, rest = rest[0], rest[1:]
        kept.append(ranked[best])
        rest = rest[box_ious(boxes[rest], boxes[best]) <= _SAME_PROPOSAL]
    return kept


def _best_of_each_place(shown: _Places) -> _Places:
    """Keeps the best of the places at which the second stage shows the same hand, with the best of their scores."""
    kept: _Places = []
    for place, seen in sorted(shown, key=lambda pair: -_second_stage_score(pair[1])):
        box = _place(place, seen).box
        same = [
            i
            for i, other in enumerate(kept)
            if box_iou(box, _place(*other).box) > _SAME_PROPOSAL and box_iou(place.box, other[0].box) > _SAME_PLACE
        ]
        for i in same:
            better, other = kept[i]
            kept[i] = replace(better, score=max(better.score, place.score)), other
        if not same:
            kept.append((place, seen))
    return kept


def _promising(shown: _Places, effort: Effort) -> _Places:
    """Returns the places with enough evidence for a hand, best first."""

    def evidence(pair: tuple[Proposal, tuple[Proposal, ...]]) -> float:
        place, seen = pair
        return float(WEIGHTS[:2] @ _evidence([place.score, _second_stage_score(seen[:1] * len(_CROPS))]))

    ranked = sorted(shown, key=evidence, reverse=True)
    return [pair for pair in ranked if evidence(pair) >= effort.least_evidence][: effort.hands]


def _without_same_hands(candidates: Sequence[Candidate], width: int, height: int) -> list[Candidate]:
    """Keeps the most probable of the candidates for one hand, best first."""
    kept: list[tuple[Candidate, np.ndarray]] = []
    for candidate in sorted(candidates, key=lambda candidate: -candidate.probability):
        box = hand_of(candidate, width, height).box
        if not any(_is_same(box, other) for _, other in kept):
            kept.append((candidate, box))
    return [candidate for candidate, _ in kept]


def _is_same(a: np.ndarray, b: np.ndarray) -> bool:
    return box_overlap(a, b) > _WITHIN * min(box_area(a), box_area(b)) or box_iou(a, b) > _SAME_SEEN


def _square(box: np.ndarray) -> np.ndarray:
    """Returns the (4,) square with the centre and the longer side of a box."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
    return np.concatenate([centre - half, centre + half])


def _scaled(box: np.ndarray, scale: float) -> np.ndarray:
    """Scales a (4,) box about its centre."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * scale
    return np.concatenate([centre - half, centre + half])


def _place(proposal: Proposal, crops: Sequence[Proposal]) -> Proposal:
    """Returns the mean of what the second stage shows, or the proposal if that is nothing."""
    return _mean(crops) if crops else proposal


def _mean(crops: Sequence[Proposal]) -> Proposal:
    """Averages what the second stage shows in its crops of one place; in a crop without a hand the score is 0.

    The boxes err in different directions, so that their mean is better than each.
    """
    best = max(crops, key=_score)
    return replace(
        best,
        box=np.mean([crop.box for crop in crops], axis=0),
        score=_second_stage_score(crops),
        is_right=sum(crop.is_right for crop in crops) / len(crops),
    )


def _second_stage_score(crops: Sequence[Proposal]) -> float:
    return float(sum(map(_score, crops))) / len(_CROPS)


def _probability(features: np.ndarray) -> float:
    """Returns the calibrated probability of a hand, given ``Candidate.features``."""
    return float(sigmoid(max(WEIGHTS @ features + BIAS, BY_APPEARANCE @ features + BY_APPEARANCE_BIAS)))


def _evidence(probabilities: Sequence[float]) -> np.ndarray:
    """Converts probabilities to logits, which add up. No network is trusted beyond 99 to 1."""
    return logit(np.clip(probabilities, 0.01, 0.99))


def hand_of(candidate: Candidate, width: int, height: int) -> Detection:
    """Returns the hand of a candidate.

    Both networks know something about its side: the detector sees the arm, the landmark network the fingers. Both know
    something about its box, too: it is the mean of theirs, in which the presence hardly matters. Of the second stage's
    crops the first one shows the better box.
    """
    place, hand = candidate.place, candidate.hand
    by_landmarks = hand.side_score if hand.side is Side.RIGHT else 1 - hand.side_score
    right = sigmoid(_evidence([0.5 if place.is_palm else place.is_right, by_landmarks]).sum())
    side = Side.RIGHT if right > 0.5 else Side.LEFT
    is_seen = hand.score >= _SEEN
    weight = float(sigmoid(_BOX_TRUST * _evidence([hand.score])[0]))
    first = candidate.crops[0] if candidate.crops else candidate.proposal
    box = weight * hand.box + (1 - weight) * _scaled(first.box, _BOX_SCALE)
    box = np.clip(box, 0, [width - 1, height - 1] * 2)
    return replace(
        hand,
        box=box,
        score=candidate.probability,
        side=side,
        side_score=float(max(right, 1 - right)),
        prediction=hand.prediction if is_seen and side is hand.side else None,
        box_from_keypoints=is_seen,
    )
