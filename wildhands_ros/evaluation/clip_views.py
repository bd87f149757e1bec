"""Measures the fusion of two cameras over time, on the demo's clip: a second camera is rendered beside the clip's own.

Everything depends on the stamps of the frames alone, not on how long the computer takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EstimatorConfig, SearchWindows
from ..estimator import Estimator
from ..fitting.hand_fusion import HandFusion
from ..fitting.hand_length import hand_length
from ..geometry.pose import Pose
from ..hand_model.asset import open_hands
from ..io.progress import with_progress
from ..io.sources import open_source
from ..synthetic.config import VIEWS
from ..synthetic.demo_clip.clip import CAMERA, FPS, DemoClip
from ..synthetic.hand_mesh import rotation
from ..synthetic.render import render
from ..synthetic.rigs import RigCamera
from ..synthetic.views import seen_from
from ..types import Side
from .metrics import median_and_p95
from .moments import LEARNING, Moment, describe_trials, extrinsics_trials, observed, trial_figures

_TRACK = 1.0
"""Seconds of a track over which errors are averaged."""
_DIRECTIONS = 12
"""Number of directions in which extrinsics are wrong."""
_FIRST, _SECOND = "first", "second"


def second_camera(angle: float = 75.0) -> Pose:
    """Returns the pose of the second camera in the frame of the clip's, which looks at the hands from the side.

    Args:
        angle: Degrees between the two directions to the hands.
    """
    centre = np.mean([hand.joints.mean(0) for hand in DemoClip().ground_truth(0.0).hands], axis=0)
    turn = rotation(np.radians(-angle) * np.array([0.0, 1.0, 0.0]))
    return Pose(turn, centre - turn @ np.array([0.0, 0.0, np.linalg.norm(centre)]))


def clip_moments(path: Path, frames: Iterable[int], pose: Pose) -> list[Moment]:
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
            Moment(
                stamp,
                {name: estimators[name](image, CAMERA, stamp).hands for name, image in images.items()},
                {hand.side: hand.joints for hand in clip.ground_truth(stamp).hands},
            )
        )
    return moments


def evaluate_clip_views(moments: Sequence[Moment], pose: Pose) -> dict[str, Any]:
    """Fuses the hands of both cameras over time.

    Args:
        moments: What ``clip_moments`` has returned.
        pose: Pose of the second camera in the frame of the first one.

    Returns:
        The errors of wrists and joints in single moments and averaged over tracks of 1 s, those of the learned lengths
        after 5 s, and after how many seconds wrong extrinsics were noticed.
    """
    assets, cameras = open_hands(), {_FIRST: RigCamera(CAMERA, Pose.identity()), _SECOND: RigCamera(CAMERA, pose)}
    fusion = HandFusion(assets)
    errors: dict[Side, list[tuple[float, np.ndarray]]] = {side: [] for side in Side}
    lengths: dict[str, float] = {}
    true_length = hand_length(assets[Side.RIGHT], DemoClip().ground_truth(0.0).hands[0].mano.betas)
    for moment in moments:
        for hand in fusion.update(moment.stamp, observed(moment, cameras)).hands:
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
        "extrinsics": trial_figures(extrinsics_trials(assets, moments, cameras, _DIRECTIONS)),
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
    return "\n".join(lines + describe_trials(figures["extrinsics"]))


def _averaged(errors: Sequence[tuple[float, np.ndarray]]) -> np.ndarray:
    """Returns the (N, 21, 3) means of the errors of one hand over each track of ``_TRACK`` seconds."""
    stamps = np.array([stamp for stamp, _ in errors])
    values = np.array([error for _, error in errors])
    numbers = np.floor((stamps - stamps[0]) / _TRACK).astype(int)
    return np.array([values[numbers == number].mean(axis=0) for number in np.unique(numbers)])
