"""Selects the hands of a labelled image that training can learn from, and reports the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..hand_model.asset import HandAsset
from ..types import Grasp, ManoParameters, Side
from .labels import LabelledHand, LabelledImage, ManoLabel, Supervision

_OF_HAND_MODEL = frozenset({Supervision.POSE, Supervision.BETAS, Supervision.CAMERA})


class Skipped(NamedTuple):
    """A label, hand or image that training does without."""

    reason: str
    """The same text for the same reason, so that reasons can be counted."""
    detail: str
    """Identifies the case; the first of each reason is shown."""


def usable_hands(
    image: LabelledImage, assets: Mapping[Side, HandAsset], source: str
) -> tuple[list[LabelledHand], list[Skipped]]:
    """Select the hands with at least one usable label of the image's ``supervision``.

    Args:
        image: The image and its labels.
        assets: The hand model that is trained; MANO labels are converted to its parameters.
        source: Prefix of the reasons.

    Returns:
        The hands, whose ``mano`` is ``ManoParameters`` or None, and what was left out.
    """
    hands, skipped = [], []
    for hand in image.hands:
        usable, reasons = _usable(hand, image.supervision, assets)
        side = "unknown side" if hand.side is None else f"{hand.side.value} hand"
        skipped += [Skipped(f"{source}: {reason}", f"{image.name}, {side}") for reason in reasons]
        if usable is not None:
            hands.append(usable)
    if not image.hands:
        skipped.append(Skipped(f"{source}: image without labelled hands", image.name))
    return hands, skipped


def _usable(
    hand: LabelledHand, supervision: frozenset[Supervision], assets: Mapping[Side, HandAsset]
) -> tuple[LabelledHand | None, list[str]]:
    if hand.side is None:
        return None, ["hand of unknown side"]
    if not np.isfinite(hand.box).all() or (hand.box[2:] <= hand.box[:2]).any():
        return None, ["hand with a box that is empty or not finite"]
    mano, reasons = _parameters(hand.mano if supervision & _OF_HAND_MODEL else None, assets[hand.side])
    hand = replace(hand, box=hand.box.astype(np.float64), mano=mano)
    if not has_labels(hand, supervision):
        return None, [*reasons, "hand without a label to learn from"]
    return hand, reasons


def has_labels(hand: LabelledHand, supervision: frozenset[Supervision]) -> bool:
    """Whether a hand has at least one label of these kinds."""
    return bool(
        (Supervision.KEYPOINTS in supervision and hand.keypoints is not None)
        or (Supervision.JOINTS in supervision and hand.joints is not None)
        or (supervision & _OF_HAND_MODEL and hand.mano is not None)
        or (Supervision.MASK in supervision and hand.load_mask is not None)
        or (Supervision.GRASP in supervision and hand.grasp not in (None, Grasp.UNKNOWN))
    )


def _parameters(label: ManoLabel | ManoParameters | None, asset: HandAsset) -> tuple[ManoParameters | None, list[str]]:
    if label is None or isinstance(label, ManoParameters):
        return label, []
    if asset.name != "mano":
        return None, ["hand with MANO labels, which are not used: hand_model is the open hand"]
    # Which shape directions the trained left hand has is determined by hand_model: the released model's are those as
    # stored.
    if label.negate_left_shapedirs_x:
        return None, ["hand with MANO labels for corrected left shape directions, which are not used"]
    parameters = label.parameters(asset)
    if not all(np.isfinite(values).all() for values in vars(parameters).values()):
        return None, ["hand with NaN among its MANO labels, which are not used"]
    return parameters, []
