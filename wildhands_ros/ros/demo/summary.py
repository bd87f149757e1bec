"""The figures that ``wildhands demo`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...evaluation.metrics import mpjpe
from ...msg import Hand, HandArray
from .recorder import ReceivedHands, stamp_of

SIDES = {Hand.SIDE_RIGHT: "right", Hand.SIDE_LEFT: "left"}


@dataclass(frozen=True)
class SentFrame:
    """A frame that the demo's camera sent."""

    stamp: int
    """Nanoseconds."""
    sent: int
    """Time of sending in nanoseconds."""


@dataclass(frozen=True)
class _Pair:
    """The joints (21, 3) of a labelled hand, and of the estimate on the same side if there is one."""

    label: np.ndarray
    estimate: np.ndarray | None


def summary(sent: Sequence[SentFrame], received: Sequence[ReceivedHands], labels: Mapping[str, Any] | None) -> str:
    """Returns the figures of a run as text.

    Args:
        sent: the frames, in order.
        received: the hands that the node published.
        labels: the true hands of these frames, in the format of ``wildhands estimate --json``; None if unknown.
    """
    times = {frame.stamp: frame.sent for frame in sent}
    answers = [answer for answer in received if stamp_of(answer.message) in times]
    ages = [(answer.received - times[stamp_of(answer.message)]) / 1e6 for answer in answers]
    hands = sum(len(answer.message.hands) for answer in answers)
    with_hands = sum(bool(answer.message.hands) for answer in answers)
    span = (answers[-1].received - answers[0].received) / 1e9 if len(answers) > 1 else 0
    rate = f", {(len(answers) - 1) / span:.1f} per second" if span else ""
    p50, p95 = np.percentile(ages, (50, 95))
    lines = [
        f"frames     {len(sent)} sent, {len(answers)} processed{rate}",
        f"hands      {hands}, in {with_hands} frames",
        f"age        {p50:.0f} ms median, {p95:.0f} ms at the 95th percentile (sent to received)",
    ]
    camera = answers[0].message
    if camera.intrinsics_source == HandArray.INTRINSICS_GUESS:
        lines.append(f"camera     guessed, focal length {camera.k[0]:.0f} px: distances are not metric")
    if labels is not None:
        messages = {stamp_of(answer.message): answer.message for answer in answers}
        lines += _errors(list(_pairs([messages.get(frame.stamp) for frame in sent], labels)))
    return "\n".join(lines)


def _pairs(frames: Sequence[HandArray | None], labels: Mapping[str, Any]) -> Iterator[_Pair]:
    """Matches the hands of the frames by side with the labels, whose frames have the same order."""
    for frame, labelled_frame in zip(frames, labels["frames"], strict=False):
        estimates = {SIDES[hand.side]: hand for hand in frame.hands} if frame else {}
        for label in labelled_frame["hands"]:
            hand = estimates.get(label["side"])
            joints = None if hand is None else np.reshape(hand.joints, (21, 3)).astype(float)
            yield _Pair(np.array(label["joints"]), joints)


def _errors(pairs: Sequence[_Pair]) -> list[str]:
    found = [(pair.label, pair.estimate) for pair in pairs if pair.estimate is not None]
    lines = [f"labels     {len(found)} of {len(pairs)} hands found, with the correct side"]
    if found:
        relative = 1000 * np.mean([mpjpe(estimate, label) for label, estimate in found])
        wrist = 1000 * np.mean([np.linalg.norm(estimate[0] - label[0]) for label, estimate in found])
        depth = 100 * np.mean([abs(estimate[0, 2] / label[0, 2] - 1) for label, estimate in found])
        lines.append(f"error      joints {relative:.1f} mm root-relative, wrist {wrist:.1f} mm, depth {depth:.1f} %")
    return lines
