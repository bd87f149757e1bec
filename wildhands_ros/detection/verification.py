"""Verifies proposals: a hand is what the landmark network recognises, or what it and the second stage agree on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from ..geometry.boxes import box_iou, rotated_square
from ..geometry.camera import Camera
from ..types import Detection, Side
from .duplicates import same_hand, without_duplicates
from .landmarks import LandmarkInference, hand_turn, infer_around_keypoints
from .proposals import Proposal
from .windows import SECOND_STAGE_SIDE, Window

Propose = Callable[[np.ndarray, Window], list[Proposal]]
"""Returns the proposals for a window of an (H, W, 3) uint8 image."""

_WEIGHTS, _BIAS = np.array([1.82, 0.74]), 0.93
"""Logistic regression of a hand on the logits of the second stage's mean score and of the presence. It was fitted to
proposals in images of the validation split; 0.2 of the bias was added for gloved hands in photographs."""
_LEAST_PRESENCE = 0.15
"""Presence below which it is no further evidence against a hand, because that of gloved hands is arbitrary."""
_SECOND_STAGE_CROPS = (1.5, 2.2)
"""Sides of the crops of the second stage, relative to the hand's."""
_SECOND_STAGE_SCORE = 0.2
"""Minimum score of a proposal for the second stage."""
_SAME_PLACE = 0.4
"""Minimum IoU of a proposal and what the second stage finds there."""
_PROMISING = 0.25
"""Minimum presence in the first forward pass for further ones with better crops."""
_SCALES, _ROTATIONS = np.array([0.8, 1.25]), np.array([0.35, -0.35])
"""Scale and rotation (radians) of the crops that confirm a hand. A fingertip or a face is rarely taken for a hand in
all of them."""
_SUPPRESSED = 0.3
"""IoU with a verified hand above which a doubtful proposal is suppressed."""
_NEAR, _LEAST_RATIO, _MOST_RATIO, _LEAST_COSINE = 0.35, 0.7, 1.4, 0.7
"""Two crops are about one hand if the distance of their centres relative to the larger one, the ratio of their sides,
and the cosine of their difference in rotation are within these limits."""

_score = attrgetter("score")


class Effort(NamedTuple):
    """How much work goes into the proposals of one image."""

    proposals: int
    """Maximum number of proposals that the landmark network verifies."""
    second_stage: int
    """Maximum number of proposals for the second stage."""
    least_score: float
    """Minimum score of a proposal."""


STILL = Effort(48, 16, 0.0)
"""For a single image."""
STREAM = Effort(6, 1, 0.0)
"""For an image of a stream without known hands."""
FOLLOWING = Effort(2, 1, 0.3)
"""For an image of a stream with known hands: another hand is soon among the best proposals, and only one in 300 of
those with a lower score is a hand that the landmark network recognises."""


class ProposalVerifier:
    """Decides which proposals are hands. Not thread-safe.

    Args:
        second_stage: Second-stage detector, for a crop around a proposal.
        infer: Landmark network.
        min_score: Minimum presence, or probability according to both networks, of a hand.
    """

    def __init__(self, second_stage: Propose, infer: LandmarkInference, min_score: float):
        self._second_stage, self._infer, self._min_score = second_stage, infer, min_score

    def verify(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        proposals: Sequence[Proposal],
        found: Sequence[Detection],
        effort: Effort,
    ) -> list[Detection]:
        """Adds the hands among the proposals to those that are found already.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: Camera of the image.
            proposals: Proposals in this image.
            found: Hands that are known in this image, with keypoints.
            effort: How many proposals to verify.

        Returns:
            All hands, best first.
        """
        candidates = [proposal for proposal in proposals if proposal.score >= effort.least_score]
        candidates = _without_near(candidates, found, effort.proposals)
        recognised, first_pass = self._recognised(image_rgb, camera, candidates, found)
        hands = [*found, *recognised]
        doubtful = [
            proposal
            for proposal, seen in zip(candidates, first_pass, strict=True)
            if seen is not None and proposal.score >= _SECOND_STAGE_SCORE and not _is_suppressed(proposal, hands)
        ][: effort.second_stage]
        crops = [seen for proposal in doubtful if (seen := self._second_stage_crops(image_rgb, proposal.box))]
        best = [max(seen, key=_score) for seen in crops]
        recognised, first_pass = self._recognised(image_rgb, camera, best, hands)
        hands += recognised
        # Hands that the landmark network recognises come first, whatever their scores: it locates them more precisely
        # than the second stage.
        further = [
            _as_proposed(proposal, seen, probability)
            for proposal, seen in zip(map(_mean, crops), first_pass, strict=True)
            if seen is not None
            and not _is_suppressed(proposal, hands)
            and (probability := _probability(proposal, seen)) >= self._min_score
        ]
        return without_duplicates(
            [*hands, *(hand for hand in further if not any(same_hand(hand, other) for other in hands))]
        )

    def _recognised(
        self, image_rgb: np.ndarray, camera: Camera, proposals: Sequence[Proposal], found: Sequence[Detection]
    ) -> tuple[list[Detection], list[Detection | None]]:
        """Returns the further hands that the landmark network recognises, and its first output for each proposal."""
        if not proposals:
            return [], []
        squares = np.stack([_square(proposal.box) for proposal in proposals])
        first_pass = self._infer(image_rgb, camera, squares, np.array([proposal.turn for proposal in proposals]))
        promising = [
            (proposal, hand, hand.keypoints)
            for proposal, hand in zip(proposals, first_pass, strict=True)
            if hand is not None and hand.keypoints is not None and hand.score >= _PROMISING
        ]
        second_pass = infer_around_keypoints(self._infer, image_rgb, camera, [points for _, _, points in promising])
        hands = [
            _with_side_of(proposal, hand)
            for (proposal, _, _), hand in zip(promising, second_pass, strict=True)
            if hand is not None
        ]
        hands = without_duplicates([hand for hand in hands if hand.score >= self._min_score])
        hands = [hand for hand in hands if not any(same_hand(hand, other) for other in found)]
        return self._confirmed(image_rgb, camera, hands), first_pass

    def _second_stage_crops(self, image_rgb: np.ndarray, box: np.ndarray) -> list[Proposal]:
        """Returns the best hand that the second stage finds at this place in each of its crops."""
        centre, longer = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
        seen = []
        for side in longer * np.array(_SECOND_STAGE_CROPS):
            x, y = centre - side / 2
            found = self._second_stage(image_rgb, Window(x, y, side, side, SECOND_STAGE_SIDE**2))
            hands = [proposal for proposal in found if box_iou(proposal.box, box) > _SAME_PLACE]
            seen += [max(hands, key=_score)] if hands else []
        return seen

    def _confirmed(self, image_rgb: np.ndarray, camera: Camera, hands: Sequence[Detection]) -> list[Detection]:
        """Returns the hands that are recognised in rotated and scaled crops too; the lowest presence is their score."""
        if not hands:
            return []
        crops = [_crop_of(hand) for hand in hands]
        turns = np.array([[turn] for _, turn in crops])
        squares = np.stack([square for square, _ in crops])
        centres, halves = (squares[:, :2] + squares[:, 2:]) / 2, (squares[:, 2:] - squares[:, :2]) / 2
        around = np.stack(
            [np.concatenate([centres - c * halves, centres + c * halves], axis=1) for c in _SCALES], axis=1
        )
        views = self._infer(image_rgb, camera, around.reshape(-1, 4), (turns + _ROTATIONS).ravel())
        confirmed = []
        for i, hand in enumerate(hands):
            score = min([hand.score, *(0.0 if seen is None else seen.score for seen in views[2 * i : 2 * i + 2])])
            if score >= self._min_score:
                confirmed.append(replace(hand, score=score))
        return confirmed


def _without_near(proposals: Sequence[Proposal], found: Sequence[Detection], most: int) -> list[Proposal]:
    """Suppresses proposals of hands that are found already and of better proposals; returns the best ``most``."""
    ranked = sorted(proposals, key=_score, reverse=True)
    squares = np.array([_square(proposal.box) for proposal in ranked]).reshape(-1, 4)
    turns = np.array([proposal.turn for proposal in ranked])
    rest = np.arange(len(ranked))
    for square, turn in map(_crop_of, found):
        rest = rest[~_are_near(squares[rest], turns[rest], square, turn)]
    kept: list[Proposal] = []
    while len(rest) and len(kept) < most:
        best, rest = rest[0], rest[1:]
        kept.append(ranked[best])
        rest = rest[~_are_near(squares[rest], turns[rest], squares[best], turns[best])]
    return kept


def _are_near(squares: np.ndarray, turns: np.ndarray, square: np.ndarray, turn: float) -> np.ndarray:
    """Returns for each of N crops, (N, 4) and (N,), whether it is about the same hand as another one, (4,)."""
    sizes, size = squares[:, 2] - squares[:, 0], square[2] - square[0]
    offsets = squares[:, :2] + squares[:, 2:] - square[:2] - square[2:]
    distances = np.linalg.norm(offsets, axis=1) / 2
    ratios = sizes / max(size, 1e-9)
    return (
        (distances < _NEAR * np.maximum(sizes, size))
        & (ratios > _LEAST_RATIO)
        & (ratios < _MOST_RATIO)
        & (np.cos(turns - turn) > _LEAST_COSINE)
    )


def _crop_of(hand: Detection) -> tuple[np.ndarray, float]:
    """Returns square and rotation of the upright crop around a hand."""
    if hand.keypoints is None:
        raise ValueError("a hand without keypoints has no upright crop")
    turn = hand_turn(hand.keypoints)
    return rotated_square(hand.keypoints, turn), turn


def _is_suppressed(proposal: Proposal, hands: Sequence[Detection]) -> bool:
    return any(box_iou(proposal.box, hand.box) > _SUPPRESSED for hand in hands)


def _square(box: np.ndarray) -> np.ndarray:
    """Returns the (4,) square with the centre and the longer side of a box."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
    return np.concatenate([centre - half, centre + half])


def _with_side_of(proposal: Proposal, hand: Detection) -> Detection:
    """Combines the sides of both networks: the detector sees the arm, the landmark network the fingers."""
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


def _mean(crops: Sequence[Proposal]) -> Proposal:
    """Averages what the second stage finds in its crops of one place; in a crop without a hand the score is 0.

    The boxes err in different directions: if the score is above 0.5, the mean box overlaps the hand by half in 92 of
    100 cases, the box in the whole image in 65.
    """
    score = sum(map(_score, crops)) / len(_SECOND_STAGE_CROPS)
    best = max(crops, key=_score)
    right = sum(crop.is_right for crop in crops) / len(crops)
    return replace(best, box=np.mean([crop.box for crop in crops], axis=0), score=score, is_right=right)


def _probability(proposal: Proposal, seen: Detection) -> float:
    """Returns the probability of a hand according to the second stage and the landmark network."""
    return float(expit(_WEIGHTS @ _evidence([proposal.score, max(seen.score, _LEAST_PRESENCE)]) + _BIAS))


def _evidence(probabilities: Sequence[float]) -> np.ndarray:
    """Converts probabilities to logits, which add up. No network is trusted beyond 99 to 1."""
    return logit(np.clip(probabilities, 0.01, 0.99))


def _as_proposed(proposal: Proposal, seen: Detection, probability: float) -> Detection:
    """Returns a hand that the landmark network alone does not recognise, with the detector's box and, for lack of
    better ones, the landmark network's keypoints."""
    return replace(
        _with_side_of(proposal, seen),
        box=proposal.box,
        box_from_keypoints=False,
        score=probability,
        prediction=None,
    )
