"""Measures what a depth camera adds to the estimates, on the synthetic world, and what damaged depth images cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..datasets.labels import LabelledHand
from ..estimator import Estimator
from ..geometry.camera import Camera
from ..geometry.depth_image import DepthImage
from ..synthetic.depth import SENSORS, depth_image
from ..synthetic.depth_corruption import CORRUPTIONS
from ..synthetic.world import World
from ..types import DepthStatus, Detection, HandEstimate
from .joint_errors import JointErrors
from .metrics import median_and_p95
from .suite import MOSTLY_VISIBLE, match_hands

PRESET = "depth"
"""Name of the world: hands of a wearer, 0.3 to 1.2 m from a camera of 1280 x 720 pixels."""
TOLERANCE = (0.01, 0.003)
"""Error of the wrist that is expected with depth: a fraction of the distance, plus metres."""


@dataclass
class _Errors(JointErrors):
    """Errors of hands whose distance was measured, or not."""

    distance: list[float] = field(default_factory=list)
    """True distance of the wrist in metres."""
    status: Counter[DepthStatus] = field(default_factory=Counter)

    def add_hand(self, label: LabelledHand, estimate: HandEstimate) -> None:
        assert label.joints is not None and estimate.joints_stddev is not None
        self.add(label.joints, estimate.joints, estimate.joints_stddev)
        self.distance.append(float(np.linalg.norm(label.joints[0])))
        self.status[estimate.depth] += 1

    @property
    def wrist(self) -> np.ndarray:
        """(N,) errors of the wrist in millimetres."""
        return 1000 * np.linalg.norm(np.array(self.joints)[:, 0], axis=1)

    def figures(self) -> dict[str, Any]:
        wrist, distance = self.wrist, np.array(self.distance)
        expected = 1000 * (TOLERANCE[0] * distance + TOLERANCE[1])
        return {
            **super().figures(),
            "wrist_percent": median_and_p95(wrist / distance / 10),
            "wrist_over_expected": median_and_p95(wrist / expected),
            "median_distance_m": float(np.median(distance)),
            "status": {status.value: count for status, count in self.status.items()},
        }


def evaluate_depth(
    estimator: Estimator, indices: Iterable[int], seed: int = 0, corrupted_every: int = 2, split: str = "test"
) -> dict[str, Any]:
    """Estimates the mostly visible hands of synthetic images with and without depth, given their boxes and sides.

    Args:
        estimator: The estimator.
        indices: Indices of images.
        seed: Seed of the world.
        corrupted_every: Damaged depth images are tried on every n-th image, with one sensor.
        split: Split of the world.

    Returns:
        The figures with depth, and those without ("colour_only"), by sensor ("sensors") and by kind of damage
        ("corruptions").
    """
    world = World(PRESET, split, seed)
    colour, both = _Errors(), _Errors()
    by_sensor = {sensor.name: _Errors() for sensor in SENSORS}
    undamaged = _Errors()
    damaged = {name: _Errors() for name in CORRUPTIONS}
    fit_seconds: list[tuple[float, float]] = []
    for index in indices:
        scene = world.scene(index)
        labelled = world.window(scene)
        labels = [hand for hand in labelled.hands if hand.visible_fraction >= MOSTLY_VISIBLE]
        if not labels:
            continue
        image = labelled.load_image()
        baseline, seconds = _estimates(estimator, image, labelled.camera, labels, None)
        chosen = [number for number, estimate in enumerate(baseline) if estimate is not None]
        for number in chosen:
            _add(colour, labels[number], baseline[number])
        for number, sensor in enumerate(SENSORS):
            measured = depth_image(scene, sensor, np.random.default_rng([seed, index, number]))
            estimates, with_depth = _estimates(estimator, image, labelled.camera, labels, measured)
            fit_seconds.append((seconds / len(labels), with_depth / len(labels)))
            for hand in chosen:
                _add(both, labels[hand], estimates[hand])
                _add(by_sensor[sensor.name], labels[hand], estimates[hand])
            if index % corrupted_every or (index // corrupted_every) % len(SENSORS) != number:
                continue
            for hand in chosen:
                _add(undamaged, labels[hand], baseline[hand])
            joints = np.concatenate([label.joints for label in labels if label.joints is not None])
            for name, corruption in CORRUPTIONS.items():
                wrong = corruption(measured, joints, np.random.default_rng([seed, index, len(SENSORS)]))
                estimates, _ = _estimates(estimator, image, labelled.camera, labels, wrong)
                for hand in chosen:
                    _add(damaged[name], labels[hand], estimates[hand])
    if not colour.joints:
        raise ValueError("there is nothing to evaluate: no hand of these images is visible; raise --count")
    without, with_depth = np.median(fit_seconds, axis=0) * 1000
    return {
        **both.figures(),
        "colour_only": colour.figures(),
        "sensors": {name: errors.figures() for name, errors in by_sensor.items()},
        "corruptions": {name: _compared(errors, undamaged) for name, errors in damaged.items() if errors.joints},
        "fit_ms_per_hand": {"colour_only": without, "with_depth": with_depth},
    }


def describe_depth(figures: dict[str, Any]) -> str:
    """Returns the figures of ``evaluate_depth`` as text."""
    rows = {"colour only": figures["colour_only"], "with depth": figures, **figures["sensors"]}
    width = max(map(len, [*rows, *figures["corruptions"]]))
    lines = [f"{'':{width}}  hands   wrist median / p95   of distance   MPJPE   within 1 sigma x y z   within 2 sigma"]
    for name, row in rows.items():
        wrist, percent = row["wrist_mm"], row["wrist_percent"]["median"]
        coverages = ["  ".join(f"{value:3.0f}" for value in row[f"coverage_{level}_axes"]) for level in (68, 95)]
        lines.append(
            f"{name:{width}}  {row['hands']:5}   {wrist['median']:5.1f} / {wrist['p95']:5.1f} mm   {percent:7.2f} %   "
            f"{row['mpjpe_mm']:5.1f}   {coverages[0]}   {coverages[1]} %"
        )
    if figures["corruptions"]:
        lines.append(
            f"{'damaged depth image':{width}}  wrist p95, colour only   MPJPE p95, colour only   worse, p95   status"
        )
    for name, row in figures["corruptions"].items():
        status = ", ".join(f"{count} {status}" for status, count in sorted(row["status"].items()))
        lines.append(
            f"{name:{width}}  {row['wrist_mm_p95']:6.1f} / {row['colour_only_wrist_mm_p95']:6.1f} mm   "
            f"{row['mpjpe_mm_p95']:8.1f} / {row['colour_only_mpjpe_mm_p95']:5.1f} mm   "
            f"{row['harm_wrist_mm_p95']:5.1f}, {row['harm_mpjpe_mm_p95']:4.1f} mm   {status}"
        )
    times = figures["fit_ms_per_hand"]
    lines.append(f"fit of a hand: {times['colour_only']:.1f} ms, with depth {times['with_depth']:.1f} ms (median)")
    return "\n".join(lines)


def _estimates(
    estimator: Estimator, image: np.ndarray, camera: Camera, labels: Sequence[LabelledHand], depth: DepthImage | None
) -> tuple[list[HandEstimate | None], float]:
    """Returns the estimate of each label, and the time of the fits in seconds."""
    detections = [Detection(label.box, label.side, side_score=1.0) for label in labels]
    frame = estimator(image, camera, detections=detections, depth=depth)
    return match_hands(labels, frame.hands, 0.0), frame.seconds["fit"]


def _add(errors: _Errors, label: LabelledHand, estimate: HandEstimate | None) -> None:
    if estimate is not None and estimate.joints_stddev is not None:
        errors.add_hand(label, estimate)


def _compared(damaged: _Errors, colour: _Errors) -> dict[str, Any]:
    """Returns the figures of a kind of damage, beside those of the same hands without depth.

    "harm" is by how much each hand is worse than without depth.
    """
    return {
        "harm_wrist_mm_p95": float(np.percentile(damaged.wrist - colour.wrist, 95)),
        "harm_mpjpe_mm_p95": float(np.percentile(np.subtract(damaged.relative, colour.relative), 95)),
        "wrist_mm_p95": float(np.percentile(damaged.wrist, 95)),
        "colour_only_wrist_mm_p95": float(np.percentile(colour.wrist, 95)),
        "mpjpe_mm_p95": float(np.percentile(damaged.relative, 95)),
        "colour_only_mpjpe_mm_p95": float(np.percentile(colour.relative, 95)),
        "status": {status.value: count for status, count in damaged.status.items()},
    }
