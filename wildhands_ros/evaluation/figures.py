"""The figures of an evaluation and how they are averaged over hands and images (WildHands, Sec. 4)."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..datasets.labels import LabelledHand, LabelledImage
from ..network.config import IMAGE_SIZE
from ..network.heads import NUM_GRASPS
from ..types import MIN_GRASP_PROBABILITY, Grasp, Side
from .metrics import mpjpe, mrrpe, pa_mpjpe
from .reliability import Bin, calibration_error, reliability

HISTOGRAMS = ("mpjpe_mm", "root_mm", "l2_box_percent")
"""Errors that ``Measurements.of_hands`` keeps for every hand."""
_NO_MEANS = {
    "samples",
    "found",
    "pictures",
    "pairs",
    "grasp_accuracy",
    "grasp_confusion",
    "grasp_unknown",
    "grasp_calibration_error",
    "grasp_reliability",
}
"""Fields of ``Figures`` that are not means of a value per hand or image."""


@dataclass(frozen=True)
class HandResult:
    """The measured part of one hand's estimate; joints are in MediaPipe order."""

    joints: np.ndarray
    """(21, 3) metres in the camera frame."""
    joints_2d: np.ndarray
    """(21, 2) pixels of the image."""
    side: Side | None = None
    grasp: Grasp | None = None
    """The most probable class."""
    grasp_probability: float = float("nan")
    """Its probability."""
    joints_stddev: np.ndarray | None = None
    """(21, 3) metres, standard deviations of ``joints``."""
    mask_iou: float = float("nan")
    """IoU of the mesh's silhouette and the labelled mask."""


@dataclass(frozen=True)
class Figures:
    """The figures; None where one does not apply."""

    samples: int
    """Number of hands."""
    found: int
    """Number of hands with an estimate; only these enter the means."""
    pictures: int
    """Number of images."""
    mpjpe_mm: float | None
    """Root-relative; averaged over the hands of an image, then over images."""
    pa_mpjpe_mm: float | None
    """As in the authors' code: of the two hands of an image, one without 3D ground truth counts as 0. Where a sample is
    a single hand (photographs), this equals the corrected value."""
    pa_mpjpe_corrected_mm: float | None
    """After similarity alignment; averaged like ``mpjpe_mm``."""
    mrrpe_mm: float | None
    """Over images with two hands."""
    pairs: int
    """Number of images in which both hands were found."""
    root_mm: float | None
    """Error of the wrist in the camera frame, over hands."""
    root_depth_percent: float | None
    coverage_68_x: float | None
    """Share of the joints' coordinates within one standard deviation of the ground truth in percent, over hands; a
    calibrated one covers 68 %."""
    coverage_68_y: float | None
    coverage_68_z: float | None
    coverage_95_x: float | None
    """The same for two standard deviations, which should cover 95 %."""
    coverage_95_y: float | None
    coverage_95_z: float | None
    l2_px: float | None
    """Over all labelled 2D joints, in pixels of the image."""
    l2_px_224: float | None
    """The same for the image padded to a square and resized to 224 pixels, the paper's unit."""
    l2_box_percent: float | None
    """Mean 2D error of a hand relative to the longer side of its box, over hands."""
    mask_iou: float | None
    side_is_right: float | None
    """Share of the hands with the correct side."""
    grasp_accuracy: float | None
    grasp_confusion: tuple[tuple[int, ...], ...] | None
    """(9, 9) counts: true class by row, estimated class by column, in the order of ``Grasp``."""
    grasp_unknown: float | None
    """Share of the hands of which no class is probable enough to be reported."""
    grasp_calibration_error: float | None
    """Expected difference of the probability of the most probable class and how often it is the true one."""
    grasp_reliability: tuple[Bin, ...] | None
    """How often the most probable class is the true one, by its probability."""

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)


class Measurements:
    """Accumulates errors over images.

    Args:
        two_hands: Whether an image is one sample of a right and a left hand; otherwise each hand is a sample of its
        own.
    """

    def __init__(self, two_hands: bool = True) -> None:
        self._slots = 2 if two_hands else 1
        self._values: dict[str, list[float]] = defaultdict(list)
        self.of_hands: dict[str, list[float]] = {name: [] for name in HISTOGRAMS}
        """The errors of every hand."""
        self._confusion = np.zeros((NUM_GRASPS, NUM_GRASPS), int)
        self._grasps: list[tuple[float, bool]] = []
        """Probability of the most probable class, and whether it is the true one."""
        self._samples = self._found = self._num_images = 0

    def add(self, image: LabelledImage, results: Sequence[HandResult | None]) -> None:
        """Add an image; ``results`` are in the order of ``image.hands``, None for a hand that was not found."""
        self._num_images += 1
        errors = []
        for hand, result in zip(image.hands, results, strict=True):
            self._samples += 1
            if result is not None:
                self._found += 1
                errors.append(self._add_hand(image, hand, result))
        for name in ("mpjpe_mm", "pa_mpjpe_corrected_mm"):
            self._take(name, _mean([error[name] for error in errors]))
        has_joints = [hand.joints is not None and np.isfinite(hand.joints[0]).all() for hand in image.hands]
        as_coded = [error["pa_mpjpe_corrected_mm"] for error in errors] + [0.0] * (self._slots - sum(has_joints))
        self._take("pa_mpjpe_mm", _mean(as_coded))
        self._add_pair(image, results)

    def _add_hand(self, image: LabelledImage, hand: LabelledHand, result: HandResult) -> dict[str, float]:
        errors = {"mpjpe_mm": np.nan, "pa_mpjpe_corrected_mm": np.nan, "root_mm": np.nan, "l2_box_percent": np.nan}
        if hand.joints is not None:
            errors["mpjpe_mm"] = 1000 * mpjpe(result.joints, hand.joints)
            errors["pa_mpjpe_corrected_mm"] = 1000 * pa_mpjpe(result.joints, hand.joints)
            if image.camera_is_known:
                errors["root_mm"] = 1000 * float(np.linalg.norm(result.joints[0] - hand.joints[0]))
                self._take("root_depth_percent", 100 * abs(float(result.joints[0, 2] / hand.joints[0, 2]) - 1))
                self._take_coverage(hand.joints, result)
        if hand.keypoints is not None:
            distances = np.linalg.norm(result.joints_2d - hand.keypoints, axis=-1)
            distances = distances[np.isfinite(distances)]
            self._values["l2_px"] += distances.tolist()
            to_224 = IMAGE_SIZE / max(image.camera.width, image.camera.height)
            self._values["l2_px_224"] += (to_224 * distances).tolist()
            errors["l2_box_percent"] = 100 * _mean(distances) / float((hand.box[2:] - hand.box[:2]).max())
        for name in ("root_mm", "l2_box_percent"):
            self._take(name, errors[name])
        for name, values in self.of_hands.items():
            if np.isfinite(errors[name]):
                values.append(errors[name])
        self._take("mask_iou", result.mask_iou)
        if hand.side is not None and result.side is not None:
            self._take("side_is_right", float(result.side is hand.side))
        if hand.grasp not in (None, Grasp.UNKNOWN) and result.grasp is not None:
            self._confusion[hand.grasp, result.grasp] += 1
            if np.isfinite(result.grasp_probability):
                self._grasps.append((result.grasp_probability, result.grasp is hand.grasp))
        return errors

    def _add_pair(self, image: LabelledImage, results: Sequence[HandResult | None]) -> None:
        sides = {
            hand.side: (hand, result) for hand, result in zip(image.hands, results, strict=True) if result is not None
        }
        if not image.camera_is_known or not all(side in sides for side in Side):
            return
        (left, found_left), (right, found_right) = sides[Side.LEFT], sides[Side.RIGHT]
        if left.joints is not None and right.joints is not None:
            self._take("mrrpe_mm", 1000 * mrrpe(found_left.joints, found_right.joints, left.joints, right.joints))

    def _take_coverage(self, joints: np.ndarray, result: HandResult) -> None:
        known = np.isfinite(joints).all(axis=1)
        if result.joints_stddev is None or not known.any():
            return
        for axis, name in enumerate("xyz"):
            deviations = np.abs(result.joints - joints)[known, axis] / result.joints_stddev[known, axis]
            for percent, limit in ((68, 1), (95, 2)):
                self._take(f"coverage_{percent}_{name}", 100 * float((deviations < limit).mean()))

    def _take(self, name: str, value: float) -> None:
        if np.isfinite(value):
            self._values[name].append(float(value))

    def figures(self) -> Figures:
        """Return the figures of all images added so far."""
        names = {f.name for f in dataclasses.fields(Figures)}
        means: dict[str, Any] = {
            name: _mean(self._values[name]) if self._values.get(name) else None for name in names - _NO_MEANS
        }
        if means["pa_mpjpe_corrected_mm"] is None:
            # Without any aligned hand only the zeros would remain.
            means["pa_mpjpe_mm"] = None
        graded = int(self._confusion.sum())
        probabilities = [probability for probability, _ in self._grasps]
        bins = tuple(reliability(probabilities, [right for _, right in self._grasps])) if self._grasps else None
        return Figures(
            samples=self._samples,
            found=self._found,
            pictures=self._num_images,
            pairs=len(self._values["mrrpe_mm"]),
            grasp_accuracy=float(np.trace(self._confusion) / graded) if graded else None,
            grasp_confusion=tuple(map(tuple, self._confusion.tolist())) if graded else None,
            grasp_unknown=_mean(np.array(probabilities) < MIN_GRASP_PROBABILITY) if bins else None,
            grasp_calibration_error=calibration_error(bins) if bins else None,
            grasp_reliability=bins,
            **means,
        )


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean of the finite values; NaN if there are none."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
