"""Looks for hands with a network that proposes places and one that knows real hands: a place that both take for a hand is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from ..geometry.boxes import box_iou, rotated_square
from ..geometry.camera import Camera
from ..types import Detection, Side
from .duplicates import same_hand, without_duplicates
from .landmarks import Look, hand_turn, look_at
from .proposals import Proposal
from .windows import CLOSE_UP_SIDE, Window, tiles, whole

_WEIGHTS, _BIAS = np.array([1.82, 0.74]), 0.93
"""What the close-ups' mean score and presence there are worth, each as its logit, and what is added: a logistic regression on the places of
frames of the validation split, and 0.2 for gloved hands of photographs."""
_UNSEEN = 0.15
"""Presence below which it says nothing more against a hand: that of gloved ones can be anything."""
_CLOSE_UPS = (1.5, 2.2)
"""Sides of these windows over the hand's."""
_WORTH_CLOSE_UPS = 0.2
"""Score from which a proposal that the landmark network does not know gets them."""
_SAME_PLACE = 0.4
"""Overlap from which a hand in a close-up is what it was taken for."""
SEARCH_EVERY = 4
"""While some hands are followed, further ones are looked for in every fourth image."""
_PROMISING = 0.25
"""Presence on the first look from which further ones, better aimed, are worth their time."""
_CLOSER, _ASKEW = np.array([0.8, 1.25]), np.array([0.35, -0.35])
"""A hand is one from a little nearer and farther, too, and turned by 20 degrees; a fingertip or a face taken for a hand seldom is."""
_TAKEN = 0.3
"""Overlap with a hand that was verified from which a doubtful proposal says nothing new."""
_NEAR = 0.35
"""A proposal is of a hand already found if the middles are closer than this, over the hand's size, and the sizes and turns alike."""


Propose = Callable[[np.ndarray, Window], list[Proposal]]
"""Of an (H, W, 3) uint8 image and a window of it."""
_score = attrgetter("score")


class _Effort(NamedTuple):
    looks: int
    """First looks at the best proposals."""
    close_ups: int
    """Proposals that get close-ups."""
    least: float
    """Score from which a proposal gets a look."""


_STILL, _STREAM, _FOLLOWING = _Effort(48, 16, 0.0), _Effort(6, 1, 0.0), _Effort(2, 1, 0.3)
"""In a picture on its own; in an image of a stream, and in one whose hands are followed: a further one is soon among the best proposals,
and of those with less than that score one in 300 is a hand that the landmark network knows."""


class HandSearch:
    """Finds hands with proposals and verification. Not for use from two threads at once.

    Args:
        propose: what an image's window is taken to show, palms and whole hands.
        close_up: what a window around a proposal is taken to show, whole hands alone.
        look: the landmark network, whose presence decides, where it is low together with the close-ups.
        max_hands: the most hands of an image.
        min_score: presence, or probability by both, in (0, 1) below which there is no hand.
        budget: seconds that an image of a stream may take beyond its first window; None: no tiles at all, only the whole image.
        windows: in place of the time, the most windows of an image of a stream.
    """

    def __init__(
        self,
        propose: Propose,
        close_up: Propose,
        look: Look,
        max_hands: int,
        min_score: float,
        budget: float | None,
        windows: int | None = None,
    ):
        self._propose, self._close_up, self._look = propose, close_up, look
        self._max_hands, self._min_score, self._budget, self._most_windows = max_hands, min_score, budget, windows
        self.reset()

    def reset(self) -> None:
        """Forgets where in a stream it is."""
        self._since_search = SEARCH_EVERY
        self._next = 0

    def still(self, image_rgb: np.ndarray, camera: Camera) -> list[Detection]:
        """The hands of an (H, W, 3) uint8 picture on its own: everywhere it looks."""
        windows = [*whole(*_size(image_rgb)), *(tiles(*_size(image_rgb)) if self._budget is not None else ())]
        proposals = [proposal for window in windows for proposal in self._propose(image_rgb, window)]
        return self._verified(image_rgb, camera, proposals, [], _STILL)[: self._max_hands]

    def next(self, image_rgb: np.ndarray, camera: Camera, known: Sequence[Detection]) -> list[Detection]:
        """The hands of a stream's next image. ``known``: those of the last one, with keypoints; they are followed first."""
        start = time.monotonic()
        hands = look_at(self._look, image_rgb, camera, [hand.keypoints for hand in known])
        hands = without_duplicates([hand for hand in hands if hand is not None and hand.score >= self._min_score])
        lost = len(hands) < len(known)
        self._since_search += 1
        if len(hands) >= self._max_hands or (hands and not lost and self._since_search < SEARCH_EVERY):
            return hands[: self._max_hands]
        self._since_search = 0
        for looked, window in enumerate(self._windows(image_rgb, lost), start=1):
            proposals = self._propose(image_rgb, window)
            hands = self._verified(image_rgb, camera, proposals, hands, _FOLLOWING if hands else _STREAM)
            # Without hands there is nothing else to do with the time; with all of them, the rest of the frame needs it.
            if len(hands) >= max(len(known), 1) or self._is_spent(looked, time.monotonic() - start):
                break
        return hands[: self._max_hands]

    def _is_spent(self, windows: int, seconds: float) -> bool:
        return seconds > (self._budget or 0.0) if self._most_windows is None else windows >= self._most_windows

    def _windows(self, image_rgb: np.ndarray, lost: bool) -> Iterator[Window]:
        """The whole image, fine and coarse in turn, and between them the tiles, going on where the last image stopped; where a hand was
        lost, the whole image first."""
        wholes = whole(*_size(image_rgb))
        parts = tiles(*_size(image_rgb)) if self._budget is not None else []
        seen = set()
        if lost:
            seen.update(wholes)
            yield from wholes
        for _ in range(2 * max(len(parts), 1)):
            half, place = self._next % 2, self._next // 2
            self._next += 1
            window = parts[place % len(parts)] if half and parts else wholes[(place + half) % 2]
            if window not in seen:
                seen.add(window)
                yield window

    def _verified(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        proposals: Sequence[Proposal],
        found: list[Detection],
        effort: _Effort,
    ) -> list[Detection]:
        """``found`` and those of the proposals that are further hands, best first."""
        chosen = _different([proposal for proposal in proposals if proposal.score >= effort.least], found)[
            : effort.looks
        ]
        known, seen = self._known(image_rgb, camera, chosen, found)
        hands = [*found, *known]
        doubtful = [
            proposal
            for proposal, hand in zip(chosen, seen, strict=True)
            if hand is not None and proposal.score >= _WORTH_CLOSE_UPS and not _is_taken(proposal, hands)
        ][: effort.close_ups]
        closer = [close_ups for proposal in doubtful if (close_ups := self._close_ups(image_rgb, proposal.box))]
        best = [max(close_ups, key=_score) for close_ups in closer]
        known, seen = self._known(image_rgb, camera, best, hands)
        hands += known
        # The landmark network's hands first, whatever the scores: it sees where they lie, close-ups only about where.
        further = [
            _as_proposed(close_up, hand, probability)
            for close_up, hand in zip(map(_mean, closer), seen, strict=True)
            if hand is not None
            and not _is_taken(close_up, hands)
            and (probability := _probability(close_up, hand)) >= self._min_score
        ]
        return without_duplicates(
            [*hands, *(hand for hand in further if not any(same_hand(hand, other) for other in hands))]
        )

    def _known(
        self, image_rgb: np.ndarray, camera: Camera, proposals: Sequence[Proposal], found: Sequence[Detection]
    ) -> tuple[list[Detection], list[Detection | None]]:
        """The further hands among the proposals that the landmark network knows, and what it saw of each proposal on the first look."""
        if not proposals:
            return [], []
        squares = np.stack([_square(proposal.box) for proposal in proposals])
        seen = self._look(image_rgb, camera, squares, np.array([proposal.turn for proposal in proposals]))
        promising = [
            (proposal, hand)
            for proposal, hand in zip(proposals, seen, strict=True)
            if hand is not None and hand.score >= _PROMISING
        ]
        aimed = look_at(self._look, image_rgb, camera, [hand.keypoints for _, hand in promising])
        aimed = [hand and _with_side_of(proposal, hand) for (proposal, _), hand in zip(promising, aimed, strict=True)]
        candidates = [hand for hand in aimed if hand is not None and hand.score >= self._min_score]
        candidates = [
            hand for hand in without_duplicates(candidates) if not any(same_hand(hand, other) for other in found)
        ]
        return self._steady(image_rgb, camera, candidates), seen

    def _close_ups(self, image_rgb: np.ndarray, box: np.ndarray) -> list[Proposal]:
        """What the hand head for close-ups sees in this place, of each close-up the best."""
        centre, longer = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
        seen = []
        for side in longer * np.array(_CLOSE_UPS):
            found = self._close_up(image_rgb, Window(*(centre - side / 2), side, side, CLOSE_UP_SIDE**2))
            hands = [proposal for proposal in found if box_iou(proposal.box, box) > _SAME_PLACE]
            seen += [max(hands, key=_score)] if hands else []
        return seen

    def _steady(self, image_rgb: np.ndarray, camera: Camera, hands: Sequence[Detection]) -> list[Detection]:
        """Those that also are hands when looked at askew; the least presence becomes their score."""
        if not hands:
            return []
        turns = np.array([[hand_turn(hand.keypoints)] for hand in hands])
        squares = np.stack([rotated_square(hand.keypoints, turn[0]) for hand, turn in zip(hands, turns, strict=True)])
        centres, halves = (squares[:, :2] + squares[:, 2:]) / 2, (squares[:, 2:] - squares[:, :2]) / 2
        around = np.stack(
            [np.concatenate([centres - c * halves, centres + c * halves], axis=1) for c in _CLOSER], axis=1
        )
        looks = self._look(image_rgb, camera, around.reshape(-1, 4), (turns + _ASKEW).ravel())
        steady = []
        for i, hand in enumerate(hands):
            score = min([hand.score, *(0.0 if look is None else look.score for look in looks[2 * i : 2 * i + 2])])
            if score >= self._min_score:
                steady.append(replace(hand, score=score))
        return steady


def _different(proposals: Sequence[Proposal], found: Sequence[Detection]) -> list[Proposal]:
    """Best first, without those of hands that are found already, or of better proposals."""
    places = [(rotated_square(hand.keypoints, hand_turn(hand.keypoints)), hand_turn(hand.keypoints)) for hand in found]
    different = []
    for proposal in sorted(proposals, key=_score, reverse=True):
        place = _square(proposal.box), proposal.turn
        if not any(_near(place, other) for other in places):
            places.append(place)
            different.append(proposal)
    return different


def _near(a: tuple[np.ndarray, float], b: tuple[np.ndarray, float]) -> bool:
    (box_a, turn_a), (box_b, turn_b) = a, b
    size_a, size_b = box_a[2] - box_a[0], box_b[2] - box_b[0]
    distance = np.linalg.norm(box_a[:2] + box_a[2:] - box_b[:2] - box_b[2:]) / 2
    return (
        distance < _NEAR * max(size_a, size_b)
        and 0.7 < size_a / max(size_b, 1e-9) < 1.4
        and np.cos(turn_a - turn_b) > 0.7
    )


def _is_taken(proposal: Proposal, hands: Sequence[Detection]) -> bool:
    return any(box_iou(proposal.box, hand.box) > _TAKEN for hand in hands)


def _square(box: np.ndarray) -> np.ndarray:
    """(4,) with the box's middle and longer side."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
    return np.concatenate([centre - half, centre + half])


def _with_side_of(proposal: Proposal, hand: Detection) -> Detection:
    """The side by what both networks say: the detector's sees the arm, the landmark network's the fingers."""
    if proposal.is_palm:
        return hand
    right = expit(
        _evidence([proposal.is_right, hand.side_score if hand.side is Side.RIGHT else 1 - hand.side_score]).sum()
    )
    side = Side.RIGHT if right > 0.5 else Side.LEFT
    return replace(
        hand,
        side=side,
        side_score=float(max(right, 1 - right)),
        prediction=hand.prediction if side is hand.side else None,
    )


def _mean(close_ups: Sequence[Proposal]) -> Proposal:
    """Of what the close-ups show; of those in which the hand was not seen, the score is 0. Their boxes err this way and that: of those with
    a score above 0.5, the mean overlaps the hand by half in 92 of 100, what was seen in the whole image in 65."""
    score = sum(map(_score, close_ups)) / len(_CLOSE_UPS)
    best = max(close_ups, key=_score)
    right = sum(close_up.is_right for close_up in close_ups) / len(close_ups)
    return replace(best, box=np.mean([close_up.box for close_up in close_ups], axis=0), score=score, is_right=right)


def _probability(close_up: Proposal, seen: Detection) -> float:
    """That there is a hand, by what both networks say of the place."""
    return float(expit(_WEIGHTS @ _evidence([close_up.score, max(seen.score, _UNSEEN)]) + _BIAS))


def _evidence(probabilities: Sequence[float]) -> np.ndarray:
    """As logits, which add up; no network is ever surer than 99 to 1."""
    return logit(np.clip(probabilities, 0.01, 0.99))


def _as_proposed(proposal: Proposal, seen: Detection, probability: float) -> Detection:
    """A hand that the landmark network alone does not know: the detector's box, its keypoints for want of better ones."""
    return replace(_with_side_of(proposal, seen), box=proposal.box, box_is_own=True, score=probability, prediction=None)


def _size(image_rgb: np.ndarray) -> tuple[int, int]:
    return image_rgb.shape[1], image_rgb.shape[0]
