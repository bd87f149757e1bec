"""Runs the estimator over labelled images, given more or less of the ground truth, and measures it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..datasets.labels import LabelledHand, LabelledImage
from ..estimator import Estimator
from ..fitting.detection_fit import LEAST_KEYPOINTS
from ..geometry.boxes import box_iou
from ..geometry.camera import Camera
from ..geometry.masks import mask_iou, mesh_mask
from ..types import Detection, Grasp, HandEstimate
from .figures import Figures, HandResult, Measurements
from .signatures import failure_signatures

MIN_IOU = 0.3
"""IoU with the true box above which a hand that was found in the image counts as the labelled one."""
MOSTLY_VISIBLE = 0.5
"""Fraction of the keypoints that lie in the image and are not hidden, self-occlusion included; few hands reach 0.8."""
VISIBLE_ROW = "boxes, mostly visible"

_SAME_SIDE = 0.1
"""Bonus, in IoU, for the correct side when overlapping hands are matched."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of a suite."""

    suite: str
    rows: dict[str, Figures]
    """Figures by what the estimator was given: the true "keypoints", the true "boxes", or only the "images"."""
    of_hands: dict[str, list[float]]
    """Errors of every hand in the headline row; see ``Measurements.of_hands``."""
    headline: str
    """Name of the row that represents the suite."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Number of hands or images that could not be evaluated, by reason."""

    @property
    def signatures(self) -> list[str]:
        """Sentences about suspicious patterns in the headline's figures."""
        return failure_signatures(self.rows[self.headline])

    def as_dict(self) -> dict:
        """Return a dict for JSON: the headline's figures at the top level, and ``suite``, ``given``, ``rows``,
        ``signatures``, ``skipped``."""
        return {
            **self.rows[self.headline].as_dict(),
            "suite": self.suite,
            "given": self.headline,
            "rows": {name: figures.as_dict() for name, figures in self.rows.items()},
            "signatures": self.signatures,
            "skipped": dict(self.skipped),
        }


def evaluate_images(
    estimator: Estimator,
    images: Iterable[LabelledImage | ValueError],
    suite: str,
    *,
    given: Sequence[str] = ("boxes", "images"),
    two_hands: bool = True,
    warn: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Measure the estimator on labelled images.

    Args:
        estimator: The estimator to measure.
        images: The images; an error takes the place of an image that cannot be read.
        suite: Name of the suite.
        given: What the estimator is given, one row each: "keypoints", "boxes" or "images". If visibility is labelled, a
            row for mostly visible hands is added.
        two_hands: See ``Measurements``.
        warn: Called once for each reason why an image cannot be read.

    Raises:
        ValueError: There is nothing to evaluate.
    """
    rows = {name: Measurements(two_hands) for name in given}
    visible = Measurements(two_hands)
    skipped: Counter[str] = Counter()

    def skip(error: Exception, name: str = "") -> None:
        reason = f"image or mask that cannot be read ({type(error).__name__})"
        if reason not in skipped:
            warn(f"{name}: {error}" if name else str(error))
        skipped[reason] += 1

    for labelled in images:
        if isinstance(labelled, ValueError):
            skip(labelled)
            continue
        if hidden := sum(hand.ignore for hand in labelled.hands):
            skipped["hand that is hardly visible"] += hidden
            labelled = replace(labelled, hands=tuple(hand for hand in labelled.hands if not hand.ignore))
        if not labelled.hands:
            skipped["image without a hand to evaluate"] += 1
            continue
        try:
            image = labelled.load_image()
            masks = [None if hand.load_mask is None else hand.load_mask() for hand in labelled.hands]
        except (ValueError, OSError) as error:
            skip(error, labelled.name)
            continue
        for name, measurements in rows.items():
            chosen = [i for i, hand in enumerate(labelled.hands) if name != "keypoints" or _can_be_fitted(hand)]
            if not chosen:
                continue
            part = replace(labelled, hands=tuple(labelled.hands[i] for i in chosen))
            results = _estimate(estimator, image, part, [masks[i] for i in chosen], name)
            measurements.add(part, results)
            if name == "boxes":
                _add_visible(visible, part, results)
    figures = {name: measurements.figures() for name, measurements in rows.items()}
    if not any(row.samples for row in figures.values()):
        reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped.most_common())
        raise ValueError(f"{suite}: there is nothing to evaluate{': ' + reasons if reasons else ''}")
    if (row := visible.figures()).samples:
        figures[VISIBLE_ROW] = row
    headline = "boxes" if "boxes" in rows else given[0]
    return Evaluation(suite, figures, rows[headline].of_hands, headline, skipped)


def _can_be_fitted(hand: LabelledHand) -> bool:
    return bool(hand.known_keypoints.sum() >= LEAST_KEYPOINTS)


def _add_visible(visible: Measurements, labelled: LabelledImage, results: list[HandResult | None]) -> None:
    chosen = [i for i, hand in enumerate(labelled.hands) if hand.visible_fraction >= MOSTLY_VISIBLE]
    if chosen:
        visible.add(replace(labelled, hands=tuple(labelled.hands[i] for i in chosen)), [results[i] for i in chosen])


def _estimate(
    estimator: Estimator, image: np.ndarray, labelled: LabelledImage, masks: list[np.ndarray | None], given: str
) -> list[HandResult | None]:
    detections = (
        None
        if given == "images"
        else [_detection(hand, with_keypoints=given == "keypoints") for hand in labelled.hands]
    )
    estimates = estimator(image, labelled.camera, detections=detections).hands
    matches = match_hands(labelled.hands, estimates, MIN_IOU if given == "images" else 0.0)
    return [
        None if match is None else _result(estimator, match, mask, labelled.camera)
        for match, mask in zip(matches, masks, strict=True)
    ]


def _detection(hand: LabelledHand, with_keypoints: bool) -> Detection:
    detection = Detection(hand.box, hand.side, side_score=float("nan") if hand.side is None else 1.0)
    if not with_keypoints:
        return detection
    assert hand.keypoints is not None  # chosen by _can_be_fitted
    known = hand.known_keypoints
    return replace(
        detection, keypoints=np.where(known[:, None], hand.keypoints, 0.0), keypoint_weights=known.astype(np.float64)
    )


def match_hands(
    truths: Sequence[LabelledHand], estimates: Sequence[HandEstimate], min_iou: float
) -> list[HandEstimate | None]:
    """Match estimates to true hands so that the total IoU is maximal; None for a hand without a match."""
    overlaps = np.array([[box_iou(estimate.box, truth.box) for estimate in estimates] for truth in truths]).reshape(
        len(truths), -1
    )
    same_side = np.array([[estimate.side is truth.side for estimate in estimates] for truth in truths]).reshape(
        overlaps.shape
    )
    matches: list[HandEstimate | None] = [None] * len(truths)
    for i, j in zip(*linear_sum_assignment(overlaps + _SAME_SIDE * same_side, maximize=True), strict=True):
        if overlaps[i, j] > min_iou:
            matches[int(i)] = estimates[int(j)]
    return matches


def _result(estimator: Estimator, estimate: HandEstimate, mask: np.ndarray | None, camera: Camera) -> HandResult:
    probabilities = estimate.grasp_probabilities
    return HandResult(
        joints=estimate.joints,
        joints_2d=estimate.joints_2d,
        joints_stddev=estimate.joints_stddev,
        side=estimate.side,
        grasp=None if probabilities is None else Grasp(int(np.argmax(probabilities))),
        grasp_probability=float("nan") if probabilities is None else float(np.max(probabilities)),
        mask_iou=float("nan")
        if mask is None
        else mask_iou(mesh_mask(estimate.vertices, estimator.faces[estimate.side], camera), mask),
    )
