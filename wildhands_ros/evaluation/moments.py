"""Hands that cameras at rest have seen over time, and whether wrong poses of the cameras are noticed.

Everything depends on the stamps of the images alone, not on how long the computer takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..fitting.extrinsics import ExtrinsicsMonitor
from ..fitting.hand_fusion import HandFusion, ObservedHand, observe
from ..geometry.pose import Pose
from ..hand_model.asset import HandAsset
from ..synthetic.hand_mesh import rotation
from ..synthetic.rigs import RigCamera
from ..types import HandEstimate, Side

LEARNING = 5.0
"""Seconds after which the lengths of the hands should be known, and wrong extrinsics noticed."""
ERRORS = {"off by 1 cm": (0.0, 0.01), "off by 1 degree": (np.radians(1.0), 0.0)}
"""Rotation in radians and shift in metres of wrong extrinsics."""
RIGHT = "right"


@dataclass(frozen=True)
class Moment:
    """One moment of a recording by several cameras."""

    stamp: float
    estimates: Mapping[str, tuple[HandEstimate, ...]]
    """What each camera sees, in its own frame."""
    joints: Mapping[Side, np.ndarray]
    """(21, 3) labels in the common frame."""


def observed(moment: Moment, cameras: Mapping[str, RigCamera]) -> dict[str, list[ObservedHand]]:
    """Returns what some cameras see, in the common frame."""
    return {
        name: [
            hand
            for estimate in moment.estimates[name]
            if (hand := observe(estimate, at.camera, at.pose, moment.stamp)) is not None
        ]
        for name, at in cameras.items()
    }


def extrinsics_trials(
    assets: Mapping[Side, HandAsset], moments: Sequence[Moment], cameras: Mapping[str, RigCamera], directions: int
) -> dict[str, list[bool]]:
    """Returns whether the extrinsics of two cameras are called wrong within 5 s, for right and for wrong ones.

    Args:
        assets: Hand model of each side.
        moments: The recording.
        cameras: The two cameras, with their right poses.
        directions: Number of random directions of the errors. The second camera turns about itself, or is shifted
            across the line between the cameras, as a shift along it cannot be seen by rays.
    """
    (_, first), (name, second) = cameras.items()
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(directions, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    base = second.pose.position - first.pose.position
    base /= np.linalg.norm(base)
    trials = {RIGHT: [second.pose]}
    for kind, (angle, distance) in ERRORS.items():
        trials[kind] = []
        for axis in axes:
            across = axis - base * (axis @ base)
            shift = distance * across / np.linalg.norm(across)
            trials[kind].append(Pose(rotation(angle * axis) @ second.pose.rotation, second.pose.position + shift))
    return {
        kind: [
            _noticed(assets, moments, {**cameras, name: replace(second, pose=pose)}, start)
            for pose in poses
            for start in _starts(moments)
        ]
        for kind, poses in trials.items()
    }


def trial_figures(trials: Mapping[str, Sequence[bool]]) -> dict[str, dict[str, Any]]:
    """Returns the share of trials in which extrinsics were called wrong, in percent."""
    return {
        kind: {"trials": len(found), "within_5_s_percent": float(100 * np.mean(found)) if found else 0.0}
        for kind, found in trials.items()
    }


def describe_trials(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the figures of ``trial_figures`` as lines of text."""
    return [
        f"extrinsics {kind}: called wrong within 5 s in {row['within_5_s_percent']:.0f} % of {row['trials']} trials"
        for kind, row in figures.items()
    ]


def _starts(moments: Sequence[Moment]) -> list[float]:
    """Returns the stamps at which a check of 5 s begins, one a second."""
    last = moments[-1].stamp - LEARNING
    return np.arange(moments[0].stamp, last + 1e-6, 1.0).tolist() if last >= moments[0].stamp else []


def _noticed(
    assets: Mapping[Side, HandAsset], moments: Sequence[Moment], cameras: Mapping[str, RigCamera], start: float
) -> bool:
    """Returns whether the poses of two cameras are called wrong within 5 s, checked each second as by the node."""
    fusion, monitor = HandFusion(assets), ExtrinsicsMonitor()
    next_check = start + 1.0
    for moment in moments:
        if not start <= moment.stamp <= start + LEARNING:
            continue
        for views in fusion.update(moment.stamp, observed(moment, cameras)).shared:
            monitor.add(moment.stamp, views)
        if moment.stamp >= next_check:
            next_check += 1.0
            if any(found.is_wrong for found in monitor.corrections().values()):
                return True
    return any(found.is_wrong for found in monitor.corrections().values())
