"""Compares the hands of an annotated recording with its ground truth.

What counts as what:

- A frame of a hand is *due* if at least half of its outline is inside the image and not hidden. *Coverage* is the
  fraction of the due frames with an estimate of this hand, seen or interpolated.
- An estimate belongs to the hand whose wrist is nearest, in the image. It is *wrong* if its wrist is more than 10 cm
  off, or if it has the other side; otherwise it is *good*.
- The wrist errors are means over the good estimates, in the camera frame and in the world.
- Two fingertips *touch* if there are less than 5 mm between the balls in their pads (``geometry.contact``); a fingertip
  touches an object if there are less than 5 mm between its ball and the object. Where hands are deep inside objects,
  which these recordings do not prevent, nothing is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..geometry.contact import TOUCHING, thumb_gaps
from ..geometry.pose import Pose
from ..io.files import OutputFile
from ..synthetic.egocentric import EgocentricFrame
from ..types import HandState, Side
from .reliability import calibration_error, reliability

DUE = 0.5
"""Seen fraction of a hand's outline from which on an estimate is due."""
WRONG = 0.10
"""Metres between the wrists from which on an estimate is wrong."""
DEEPEST = -0.015
"""Metres between a fingertip and an object below which the recording itself is wrong: the hand is inside the object."""
SAME_STAMP = 0.002
"""Seconds between stamps of the same image."""
_SIDES = tuple(Side)


@dataclass(frozen=True, eq=False)
class RecordingLabels:
    """Ground truth of T frames with the hands of both sides, in the order of ``Side``."""

    stamps: np.ndarray
    """(T,) seconds."""
    rotations: np.ndarray
    """(T, 3, 3) of the camera in the world."""
    positions: np.ndarray
    """(T, 3) of the camera in the world, metres."""
    joints: np.ndarray
    """(T, 2, 21, 3) metres in the camera frame."""
    visible: np.ndarray
    """(T, 2, 21) bool."""
    seen: np.ndarray
    """(T, 2) fraction of each hand's outline that is inside the image and not hidden."""
    object_gaps: np.ndarray
    """(T, 2, 5) metres between the pad of each fingertip, thumb first, and the nearest object."""
    hand_length: float
    """Length of both hands in metres."""

    @classmethod
    def of(cls, frames: Sequence[EgocentricFrame], start: float, hand_length: float) -> RecordingLabels:
        """Returns the ground truth of frames whose first stamp is ``start`` seconds."""
        return cls(
            np.array([start + frame.stamp for frame in frames]),
            np.stack([frame.camera_pose.rotation for frame in frames]),
            np.stack([frame.camera_pose.position for frame in frames]),
            np.array([[hand.joints for hand in frame.hands] for frame in frames]),
            np.array([[hand.visible for hand in frame.hands] for frame in frames]),
            np.array([frame.seen for frame in frames]),
            np.array([frame.object_gaps for frame in frames]),
            hand_length,
        )

    def save(self, path: Path) -> None:
        """Writes the ground truth to an .npz file."""
        with OutputFile(path) as partial:
            np.savez(partial, **vars(self))

    @classmethod
    def load(cls, path: Path) -> RecordingLabels:
        """Reads what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as data:
            return cls(**{name: data[name][()] for name in data.files})

    def camera_pose(self, number: int) -> Pose:
        """Returns the pose of the camera in the world in a frame."""
        return Pose(self.rotations[number], self.positions[number])


@dataclass(frozen=True, eq=False)
class RecordedHand:
    """One estimate of an annotated recording."""

    stamp: float
    """Stamp of its image in seconds."""
    side: Side
    joints: np.ndarray
    """(21, 3) metres in the camera frame."""
    world_joints: np.ndarray | None
    """(21, 3) metres in the fixed frame; None if the pose of the camera is unknown."""
    visibility: np.ndarray
    """(21,) probabilities."""
    contact: np.ndarray
    """(4,) probabilities that the thumb touches the other fingertips; NaN where unknown."""
    object_contact: np.ndarray
    """(5,) probabilities that the fingertips touch something that is not a hand; NaN where unknown."""
    state: HandState
    doubts: int
    """Value of the ``Doubt`` flags."""
    usable: bool


@dataclass(frozen=True)
class Match:
    """One estimate and what is true of it."""

    hand: RecordedHand
    frame: int
    label: int
    """Number of the hand to which the estimate belongs."""
    wrist_error: float
    """Metres in the camera frame."""
    world_error: float
    """Metres in the fixed frame; NaN if the pose of the camera is unknown."""

    @property
    def is_wrong(self) -> bool:
        return self.wrist_error > WRONG or self.hand.side is not _SIDES[self.label]


def matches(labels: RecordingLabels, hands: Sequence[RecordedHand]) -> list[Match]:
    """Assigns the estimates of each frame to the hands, each to at most one, the nearest ones first."""
    found: list[Match] = []
    by_frame: dict[int, list[RecordedHand]] = {}
    for hand in hands:
        frame = int(np.argmin(np.abs(labels.stamps - hand.stamp)))
        if abs(labels.stamps[frame] - hand.stamp) < SAME_STAMP:
            by_frame.setdefault(frame, []).append(hand)
    for frame, of_frame in sorted(by_frame.items()):
        true = labels.joints[frame]
        # Directions, because a hand that is found at a wrong depth is still this hand.
        costs = np.array(
            [[_angle(hand.joints[[0, 9]], true[i][[0, 9]]) for i in range(len(true))] for hand in of_frame]
        )
        rows, columns = linear_sum_assignment(costs)
        taken = dict(zip(rows.tolist(), columns.tolist(), strict=True))
        for number, hand in enumerate(of_frame):
            label = taken.get(number, int(np.argmin(costs[number])))
            error = float(np.linalg.norm(hand.joints[0] - true[label][0]))
            world = float("nan")
            if hand.world_joints is not None:
                world = float(np.linalg.norm(hand.world_joints[0] - labels.camera_pose(frame).apply(true[label][0])))
            found.append(Match(hand, frame, label, error, world))
    return found


def recording_figures(recordings: Sequence[tuple[RecordingLabels, Sequence[RecordedHand]]]) -> dict[str, float]:
    """Returns the figures of ``wildhands evaluate recording`` over several recordings; see the module for terms.

    Returns:
        ``world_wrist_mm`` and ``camera_wrist_mm``; ``coverage``; ``wrong_masked`` and ``good_masked``, the fractions of
        wrong and of good estimates that are not usable; ``visibility_ap``, the average precision of the joints'
        visibility; of the contacts of fingertips ``contact_known``, the fraction that is not unknown, and of these
        ``contact_rate``, the fraction that touch, ``contact_ap``, the average precision, and
        ``contact_calibration_error``; the same of the contacts with objects as ``object_contact_known`` and so on; and
        the counts ``due``, ``wrong`` and ``good``.
    """
    due = covered = 0
    everything: list[Match] = []
    visible, probability = [], []
    touching, contact, at_object, object_contact = [], [], [], []
    for labels, hands in recordings:
        found = matches(labels, hands)
        everything += found
        is_due = labels.seen >= DUE
        has = np.zeros_like(is_due)
        for match in found:
            has[match.frame, match.label] = True
            visible.append(labels.visible[match.frame, match.label])
            probability.append(match.hand.visibility)
            touching.append(thumb_gaps(labels.joints[match.frame, match.label]) < TOUCHING)
            contact.append(match.hand.contact)
            gaps = labels.object_gaps[match.frame, match.label]
            at_object.append(gaps < TOUCHING)
            object_contact.append(np.where(gaps > DEEPEST, match.hand.object_contact, np.nan))
        due += int(is_due.sum())
        covered += int((is_due & has).sum())
    wrong = [match for match in everything if match.is_wrong]
    good = [match for match in everything if not match.is_wrong]
    return {
        "world_wrist_mm": 1000 * _mean([match.world_error for match in good]),
        "camera_wrist_mm": 1000 * _mean([match.wrist_error for match in good]),
        "coverage": covered / max(due, 1),
        "wrong_masked": _mean([not match.hand.usable for match in wrong]),
        "good_masked": _mean([not match.hand.usable for match in good]),
        "visibility_ap": average_precision(np.ravel(visible), np.ravel(probability)),
        **_contact_figures("contact", np.ravel(touching), np.ravel(contact)),
        **_contact_figures("object_contact", np.ravel(at_object), np.ravel(object_contact)),
        "due": due,
        "wrong": len(wrong),
        "good": len(good),
    }


def _contact_figures(name: str, touching: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Returns the figures of one kind of contact, whose names begin with ``name``."""
    known = np.isfinite(probability)
    touch, probability = touching[known], probability[known]
    return {
        f"{name}_known": float(known.mean()) if len(known) else float("nan"),
        f"{name}_rate": float(touch.mean()) if len(touch) else float("nan"),
        f"{name}_ap": average_precision(touch, probability),
        f"{name}_calibration_error": calibration_error(reliability(probability, touch)) or 0.0,
    }


def average_precision(true: np.ndarray, score: np.ndarray) -> float:
    """Returns the mean precision at each true item, in descending order of (N,) scores; NaN without true items."""
    order = np.argsort(-np.asarray(score), kind="stable")
    hits = np.asarray(true, bool)[order]
    if not hits.any():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def _angle(points: np.ndarray, others: np.ndarray) -> float:
    """Returns the mean angle in radians between the directions to (N, 3) points and to others."""
    one, other = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (points, others))
    return float(np.arccos(np.clip((one * other).sum(-1), -1, 1)).mean())


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
