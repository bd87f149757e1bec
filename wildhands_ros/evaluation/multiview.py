"""Measures the fusion of several calibrated cameras on the synthetic world."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ..estimator import Estimator
from ..fitting.hand_fusion import HandFusion, ObservedHand, observe
from ..fitting.hand_length import hand_length
from ..fitting.multiview_fit import MultiviewFit
from ..synthetic.config import VIEWS
from ..synthetic.views import make_views
from ..synthetic.world import World
from ..types import ManoParameters
from .joint_errors import JointErrors
from .keypoint_floor import ViewedHand, keypoint_floor
from .metrics import median_and_p95
from .suite import MOSTLY_VISIBLE

_SAME_HAND = 0.15
"""Largest mean distance in metres of the joints of a fused hand and of its label."""


def evaluate_multiview(
    estimator: Estimator, indices: Iterable[int], count: int = 2, seed: int = 0, split: str = "test"
) -> dict[str, Any]:
    """Finds and estimates the hands of synthetic images of several cameras, each on its own, and fuses them.

    Hands count that are mostly visible in all views.

    Args:
        estimator: The estimator.
        indices: Indices of scenes.
        count: Number of cameras.
        seed: Seed of the world.
        split: Split of the world.

    Returns:
        The figures of the hands that all cameras have found, and those of the same hands in the first camera alone
        ("colour_only").
    """
    world = World(replace(VIEWS, split=split, seed=seed))
    fused, alone = JointErrors(), JointErrors()
    labelled = right_sides = 0
    lengths: list[float] = []
    misfits: list[float] = []
    milliseconds: list[float] = []
    viewed: list[ViewedHand] = []
    for index in indices:
        views = make_views(world.config, world.scene(index), count)
        images = [world.window(view.scene) for view in views]
        chosen = [
            number
            for number in range(len(images[0].hands))
            if min(image.hands[number].visible_fraction for image in images) >= MOSTLY_VISIBLE
        ]
        if len(views) < count or not chosen:
            continue
        labelled += len(chosen)
        observed: dict[str, list[ObservedHand]] = {}
        for number, (view, image) in enumerate(zip(views, images, strict=True)):
            hands = estimator(image.load_image(), image.camera).hands
            found = (observe(hand, image.camera, view.pose, 0.0) for hand in hands)
            observed[_camera(number)] = [hand for hand in found if hand is not None]
        fusion = HandFusion(estimator.hand_model)
        start = time.process_time()
        result = fusion.update(0.0, observed)
        milliseconds.append(1000 * (time.process_time() - start) / max(len(result.hands), 1))
        misfits += [residual.misfit for residual in result.residuals]
        for number in chosen:
            label = images[0].hands[number]
            joints = label.joints
            assert joints is not None and label.side is not None and isinstance(label.mano, ManoParameters)
            together = [hand for hand in result.hands if len(hand.views) == count]
            hand = min(together, key=lambda hand: _distance(hand.hand.joints, joints), default=None)
            if hand is None or _distance(hand.hand.joints, joints) > _SAME_HAND:
                continue
            fused.add(joints, hand.hand.joints, hand.hand.joints_stddev)
            viewed.append(ViewedHand([each.view for each in hand.observed.values()], joints))
            own = min(observed[_camera(0)], key=lambda own: _distance(own.hand.joints, joints)).hand
            alone.add(joints, own.joints, own.joints_stddev)
            right_sides += hand.side is label.side
            true_length = hand_length(estimator.hand_model[label.side], label.mano.betas)
            if hand.measured_length is not None:
                lengths.append(100 * (hand.measured_length.metres / true_length - 1))
    if not fused.joints:
        raise ValueError("there is nothing to evaluate: no hand is visible to all cameras; raise --count")
    return {
        **fused.figures(),
        "views": count,
        "labelled_hands": labelled,
        "correct_sides_percent": 100 * right_sides / len(fused.joints),
        "hand_length_percent": {"bias": float(np.mean(lengths)), **median_and_p95(np.abs(lengths))},
        "misfit": median_and_p95(np.array(misfits)),
        "colour_only": alone.figures(),
        "fusion_ms_per_hand": float(np.median(milliseconds)),
        "floor": keypoint_floor(MultiviewFit(estimator.hand_model), viewed, np.random.default_rng(seed)),
    }


def describe_multiview(figures: dict[str, Any]) -> str:
    """Returns the figures of ``evaluate_multiview`` as text."""
    rows = {"one camera": figures["colour_only"], f"{figures['views']} cameras": figures}
    lines = [f"{'':10}  hands   wrist median / p95     joints median / p95    MPJPE   within 1, 2 sigma"]
    for name, row in rows.items():
        wrist, joints = row["wrist_mm"], row["joints_mm"]
        lines.append(
            f"{name:10}  {row['hands']:5}   {wrist['median']:6.1f} / {wrist['p95']:6.1f} mm     "
            f"{joints['median']:6.1f} / {joints['p95']:6.1f} mm   {row['mpjpe_mm']:5.1f}   "
            f"{row['coverage_68']:3.0f}, {row['coverage_95']:3.0f} %"
        )
    length = figures["hand_length_percent"]
    lines += [
        f"fused {figures['hands']} of {figures['labelled_hands']} hands, "
        f"{figures['correct_sides_percent']:.0f} % with the correct side",
        f"length of the hand from one moment: median error {length['median']:.1f} %, bias {length['bias']:+.1f} %",
        f"fusion: {figures['fusion_ms_per_hand']:.1f} ms of CPU time for a new hand (median)",
    ]
    floor = figures["floor"]
    truth, noise = floor["true_keypoints_wrist_mm"], floor["independent_noise_wrist_mm"]
    lines += [
        f"wrist with true keypoints {truth['median']:.1f} / {truth['p95']:.1f} mm, with independent noise of their "
        f"size {noise['median']:.1f} / {noise['p95']:.1f} mm",
        f"keypoints: standard deviation {floor['keypoint_stddev_percent']:.1f} % of the hand's extent, of which "
        f"{floor['common_stddev_percent']:.1f} % are common to a view; systematic at most "
        f"{floor['systematic_percent']:.1f} %",
    ]
    return "\n".join(lines)


def _camera(number: int) -> str:
    return f"camera_{number + 1}"


def _distance(joints: np.ndarray, label: np.ndarray) -> float:
    return float(np.linalg.norm(joints - label, axis=1).mean())
