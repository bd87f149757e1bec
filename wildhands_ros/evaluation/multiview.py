"""Measures the fusion of several calibrated cameras on the synthetic world."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..estimator import Estimator
from ..fitting.extrinsics import SharedHand, correction
from ..fitting.hand_fusion import HandFusion, ObservedHand, observe
from ..fitting.hand_length import hand_length
from ..fitting.multiview_fit import HandView, MultiviewFit
from ..geometry.pose import Pose
from ..synthetic.config import VIEWS
from ..synthetic.hand_mesh import rotation
from ..synthetic.views import make_views
from ..synthetic.world import World
from ..types import ManoParameters
from .keypoint_floor import ViewedHand, keypoint_floor
from .metrics import median_and_p95, mpjpe
from .suite import MOSTLY_VISIBLE

_SAME_HAND = 0.15
"""Largest mean distance in metres of the joints of a fused hand and of its label."""


_HANDS_OF_CHECK = 30
"""Number of hands with which extrinsics are checked: those of a hand that moves for 5 s."""
_TRIALS = 200


@dataclass
class _Errors:
    """Errors of hands, in the order in which they were added."""

    joints: list[np.ndarray] = field(default_factory=list)
    """(21, 3) differences to the labels in metres."""
    stddev: list[np.ndarray] = field(default_factory=list)
    """(21, 3) metres, as estimated."""
    relative: list[float] = field(default_factory=list)
    """Mean error of the joints relative to the wrist in millimetres."""

    def add(self, label: np.ndarray, joints: np.ndarray, stddev: np.ndarray) -> None:
        self.joints.append(joints - label)
        self.stddev.append(stddev)
        self.relative.append(1000 * mpjpe(joints, label))

    def figures(self) -> dict[str, Any]:
        errors = np.array(self.joints)
        distances, sigmas = 1000 * np.linalg.norm(errors, axis=2), np.abs(errors) / np.array(self.stddev)
        return {
            "hands": len(errors),
            "wrist_mm": median_and_p95(distances[:, 0]),
            "joints_mm": median_and_p95(distances),
            "mpjpe_mm": float(np.mean(self.relative)),
            "coverage_68": float(100 * (sigmas < 1).mean()),
            "coverage_95": float(100 * (sigmas < 2).mean()),
            "coverage_68_axes": (100 * (sigmas < 1).mean(axis=(0, 1))).tolist(),
            "coverage_95_axes": (100 * (sigmas < 2).mean(axis=(0, 1))).tolist(),
        }


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
    fused, alone = _Errors(), _Errors()
    labelled = right_sides = 0
    lengths: list[float] = []
    misfits: list[float] = []
    shared: list[SharedHand] = []
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
        shared += [
            _in_second_frame(pair, views[1].pose) for pair in result.shared if {_camera(0), _camera(1)} <= set(pair)
        ]
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
        "extrinsics": _extrinsics_figures(shared, np.random.default_rng(seed)),
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
    lines += [
        f"extrinsics {name}: called wrong with {_HANDS_OF_CHECK} hands in {share:.0f} % of the trials"
        for name, share in figures["extrinsics"].items()
    ]
    return "\n".join(lines)


def _in_second_frame(pair: Mapping[str, HandView], pose: Pose) -> SharedHand:
    """Returns a hand in the frame of the second camera, in which its extrinsics are wrong in the same way for all
    scenes."""
    inverse = pose.inverse()
    first, second = (
        replace(
            view,
            rays=view.rays @ inverse.rotation.T,
            origin=inverse.apply(view.origin),
            joints=inverse.apply(view.joints),
        )
        for view in (pair[_camera(0)], pair[_camera(1)])
    )
    return SharedHand(0.0, first, second)


def _extrinsics_figures(shared: Sequence[SharedHand], rng: np.random.Generator) -> dict[str, float]:
    """Returns how often extrinsics are called wrong, in percent: right ones, and with an error in any direction."""
    if len(shared) < 2 * _HANDS_OF_CHECK:
        return {}
    errors = {"right": (0.0, 0.0), "off by 1 degree": (np.radians(1.0), 0.0), "off by 1 cm": (0.0, 0.01)}
    figures = {}
    for name, (angle, distance) in errors.items():
        noticed = []
        for _ in range(_TRIALS):
            axes = rng.normal(size=(2, 3))
            axes /= np.linalg.norm(axes, axis=1, keepdims=True)
            wrong = Pose(rotation(angle * axes[0]), distance * axes[1])
            hands = [shared[i] for i in rng.choice(len(shared), _HANDS_OF_CHECK, replace=False)]
            moved = [
                replace(
                    hand,
                    second=replace(
                        hand.second,
                        rays=hand.second.rays @ wrong.rotation.T,
                        origin=wrong.apply(hand.second.origin),
                        joints=wrong.apply(hand.second.joints),
                    ),
                )
                for hand in hands
            ]
            found = correction(moved)
            noticed.append(found is not None and found.is_wrong)
        figures[name] = float(100 * np.mean(noticed))
    return figures


def _camera(number: int) -> str:
    return f"camera_{number + 1}"


def _distance(joints: np.ndarray, label: np.ndarray) -> float:
    return float(np.linalg.norm(joints - label, axis=1).mean())
