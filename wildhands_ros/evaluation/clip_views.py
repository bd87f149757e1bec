"""Measures the fusion of two cameras over time, on the demo's clip: a second camera is rendered beside the clip's own.

Everything depends on the stamps of the frames alone, not on how long the computer takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EstimatorConfig, SearchWindows
from ..estimator import Estimator
from ..fitting.extrinsics import ExtrinsicsMonitor
from ..fitting.hand_fusion import HandFusion, ObservedHand, observe
from ..fitting.hand_length import hand_length
from ..geometry.pose import Pose
from ..hand_model.asset import open_hands
from ..io.progress import with_progress
from ..io.sources import open_source
from ..synthetic.config import VIEWS
from ..synthetic.demo_clip.clip import CAMERA, FPS, DemoClip
from ..synthetic.hand_mesh import rotation
from ..synthetic.render import render
from ..synthetic.views import seen_from
from ..types import HandEstimate, Side
from .metrics import median_and_p95

LEARNING = 5.0
"""Seconds after which the lengths of the hands should be known, and wrong extrinsics noticed."""
_TRACK = 1.0
"""Seconds of a track over which errors are averaged."""
_DIRECTIONS = 12
"""Number of directions in which extrinsics are wrong."""
_ERRORS = {"1 cm": (0.0, 0.01), "1 degree": (np.radians(1.0), 0.0)}
"""Rotation in radians and shift in metres of wrong extrinsics."""
_FIRST, _SECOND = "first", "second"


@dataclass(frozen=True)
class ClipMoment:
    """One moment of the clip."""

    stamp: float
    estimates: Mapping[str, tuple[HandEstimate, ...]]
    """What each camera sees, in its own frame."""
    joints: Mapping[Side, np.ndarray]
    """(21, 3) labels in the frame of the first camera."""


def second_camera(angle: float = 75.0) -> Pose:
    """Returns the pose of the second camera in the frame of the clip's, which looks at the hands from the side.

    Args:
        angle: Degrees between the two directions to the hands.
    """
    centre = np.mean([hand.joints.mean(0) for hand in DemoClip().ground_truth(0.0).hands], axis=0)
    turn = rotation(np.radians(-angle) * np.array([0.0, 1.0, 0.0]))
    return Pose(turn, centre - turn @ np.array([0.0, 0.0, np.linalg.norm(centre)]))


def clip_moments(path: Path, frames: Iterable[int], pose: Pose) -> list[ClipMoment]:
    """Estimates the hands of the clip in both cameras, each as a stream.

    Args:
        path: The clip.
        frames: Numbers of the frames, ascending.
        pose: Pose of the second camera in the frame of the first one.
    """
    clip, wanted, moments = DemoClip(), sorted(set(frames)), []
    config = EstimatorConfig(search=SearchWindows())
    estimators = {name: Estimator(config) for name in (_FIRST, _SECOND)}
    source = open_source(str(path))
    for number, frame in enumerate(with_progress(source, source.count, "frame")):
        if number not in wanted:
            continue
        stamp = number / FPS
        beside = render(seen_from(clip.scene(stamp), CAMERA, pose, VIEWS, np.random.default_rng(0))).image
        images = {_FIRST: frame.image, _SECOND: beside}
        moments.append(
            ClipMoment(
                stamp,
                {name: estimators[name](image, CAMERA, stamp).hands for name, image in images.items()},
                {hand.side: hand.joints for hand in clip.ground_truth(stamp).hands},
            )
        )
    return moments


def evaluate_clip_views(moments: Sequence[ClipMoment], pose: Pose) -> dict[str, Any]:
    """Fuses the hands of both cameras over time.

    Args:
        moments: What ``clip_moments`` has returned.
        pose: Pose of the second camera in the frame of the first one.

    Returns:
        The errors of wrists and joints in single moments and averaged over tracks of 1 s, those of the learned lengths
        after 5 s, and after how many seconds wrong extrinsics were noticed.
    """
    assets = open_hands()
    fusion = HandFusion(assets)
    errors: dict[Side, list[tuple[float, np.ndarray]]] = {side: [] for side in Side}
    lengths: dict[str, float] = {}
    true_length = hand_length(assets[Side.RIGHT], DemoClip().ground_truth(0.0).hands[0].mano.betas)
    for moment in moments:
        for hand in fusion.update(moment.stamp, _observed(moment, pose)).hands:
            if len(hand.views) == 2 and hand.side in moment.joints:
                errors[hand.side].append((moment.stamp, 1000 * (hand.hand.joints - moment.joints[hand.side])))
        if not lengths and moment.stamp - moments[0].stamp >= LEARNING:
            lengths = {s.value: 100 * (k.metres / true_length - 1) for s, k in fusion.lengths.known().items()}
    single = np.concatenate([[error for _, error in of_side] for of_side in errors.values() if of_side])
    tracks = np.concatenate([_averaged(of_side) for of_side in errors.values() if of_side])
    return {
        "moments": len(moments),
        "hands": len(single),
        "wrist_mm": median_and_p95(np.linalg.norm(single[:, 0], axis=-1)),
        "joints_mm": median_and_p95(np.linalg.norm(single, axis=-1)),
        "track_wrist_mm": median_and_p95(np.linalg.norm(tracks[:, 0], axis=-1)),
        "track_joints_mm": median_and_p95(np.linalg.norm(tracks, axis=-1)),
        "length_percent_after_5_s": lengths,
        "extrinsics": _extrinsics(moments, pose),
    }


def describe_clip_views(figures: dict[str, Any]) -> str:
    """Returns the figures of ``evaluate_clip_views`` as text."""
    lines = [f"two cameras over time: {figures['hands']} hands in {figures['moments']} moments"]
    for name, title in (("", "single moments"), ("track_", "averaged over 1 s")):
        wrist, joints = figures[f"{name}wrist_mm"], figures[f"{name}joints_mm"]
        lines.append(
            f"{title:17}  wrist {wrist['median']:5.1f} / {wrist['p95']:5.1f} mm   joints {joints['median']:5.1f} / "
            f"{joints['p95']:5.1f} mm (median / p95)"
        )
    lengths = ", ".join(f"{side} {error:+.1f} %" for side, error in figures["length_percent_after_5_s"].items())
    lines.append(f"length of the hand after 5 s: {lengths or 'unknown'}")
    for name, row in figures["extrinsics"].items():
        lines.append(
            f"extrinsics {name}: called wrong within 5 s in {row['within_5_s_percent']:.0f} % of {row['trials']} trials"
        )
    return "\n".join(lines)


def _observed(moment: ClipMoment, pose: Pose) -> dict[str, list[ObservedHand]]:
    """Returns what both cameras see, in the frame of the first one."""
    poses = {_FIRST: Pose.identity(), _SECOND: pose}
    return {
        name: [
            hand for estimate in estimates if (hand := observe(estimate, CAMERA, poses[name], moment.stamp)) is not None
        ]
        for name, estimates in moment.estimates.items()
    }


def _averaged(errors: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """Returns the (N, 21, 3) means of the errors of one hand over each track of ``_TRACK`` seconds."""
    stamps = np.array([stamp for stamp, _ in errors])
    values = np.array([error for _, error in errors])
    numbers = np.floor((stamps - stamps[0]) / _TRACK).astype(int)
    return np.array([values[numbers == number].mean(axis=0) for number in np.unique(numbers)])


def _extrinsics(moments: Sequence[ClipMoment], pose: Pose) -> dict[str, dict[str, float]]:
    """Returns how often extrinsics are called wrong within 5 s, for right and for wrong ones."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(_DIRECTIONS, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    trials = {"right": [Pose.identity()]}
    for name, (angle, distance) in _ERRORS.items():
        # The camera turns about itself; a shift along the line between the cameras cannot be seen by rays.
        base = pose.position / np.linalg.norm(pose.position)
        across = [axis - base * (axis @ base) for axis in axes]
        trials[f"off by {name}"] = [
            Pose(rotation(angle * axis), distance * side / np.linalg.norm(side))
            for axis, side in zip(axes, across, strict=True)
        ]
    figures = {}
    for name, wrong in trials.items():
        found = [_noticed(moments, pose, each, start) for each in wrong for start in _starts(moments)]
        figures[name] = {"trials": len(found), "within_5_s_percent": float(100 * np.mean(found)) if found else 0.0}
    return figures


def _starts(moments: Sequence[ClipMoment]) -> list[float]:
    """Returns the stamps at which a check of 5 s begins, one a second."""
    last = moments[-1].stamp - LEARNING
    return np.arange(moments[0].stamp, last + 1e-6, 1.0).tolist() if last >= moments[0].stamp else []


def _noticed(moments: Sequence[ClipMoment], pose: Pose, error: Pose, start: float) -> bool:
    """Returns whether the extrinsics are called wrong within 5 s after a start, checked each second as by the node.

    Args:
        moments: The clip.
        pose: True pose of the second camera.
        error: By how much the pose is wrong: a turn about the camera itself, and a shift.
        start: Stamp at which the check begins.
    """
    assumed = Pose(error.rotation @ pose.rotation, pose.position + error.position)
    fusion, monitor = HandFusion(open_hands()), ExtrinsicsMonitor()
    next_check = start + 1.0
    for moment in moments:
        if not start <= moment.stamp <= start + LEARNING:
            continue
        for views in fusion.update(moment.stamp, _observed(moment, assumed)).shared:
            monitor.add(moment.stamp, views)
        if moment.stamp >= next_check:
            next_check += 1.0
            if any(found.is_wrong for found in monitor.corrections().values()):
                return True
    return any(found.is_wrong for found in monitor.corrections().values())
