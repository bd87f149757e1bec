"""The figures that ``wildhands demo --robot`` prints: latency, and errors of commands and robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ...geometry.pose import Pose

LONGEST_DELAY, DELAY_STEP = 1.0, 0.005
"""Seconds: how far behind the operator's hand the robot may be, and the resolution of that delay."""


@dataclass
class Motion:
    """Where the robot was and was told to be, at a constant rate."""

    times: list[int] = field(default_factory=list)
    """Nanoseconds, increasing."""
    reached: list[Pose] = field(default_factory=list)
    commanded: list[Pose | None] = field(default_factory=list)
    """The command that the robot follows; None while there is none."""

    def add(self, at: int, reached: Pose, commanded: Pose | None) -> None:
        """Adds a moment."""
        self.times.append(at)
        self.reached.append(reached)
        self.commanded.append(commanded)


@dataclass(frozen=True)
class Tracking:
    """How well the robot follows the true hand, whose motion is known up to the place where it began."""

    delay: float
    """Seconds by which the robot is behind the hand: those with the smallest error."""
    errors: np.ndarray
    """(N,) metres between robot and hand, this delay apart."""


def describe(
    motion: Motion, latencies: Sequence[float], stamps: Sequence[int], labels: Mapping[str, Any] | None, camera: Pose
) -> str:
    """Returns the figures of a run as text.

    Args:
        motion: what the robot did.
        latencies: seconds from camera to command of each image.
        stamps: stamps of all images, in nanoseconds.
        labels: the true hands of the images, in the format of ``wildhands estimate --json``; None if unknown.
        camera: pose of the camera in the frame of the robot.
    """
    pairs = [
        (reached, told) for reached, told in zip(motion.reached, motion.commanded, strict=True) if told is not None
    ]
    distances = [float(np.linalg.norm(reached.position - told.position)) for reached, told in pairs]
    angles = [Rotation.from_matrix(reached.rotation @ told.rotation.T).magnitude() for reached, told in pairs]
    path = np.linalg.norm(np.diff([told.position for _, told in pairs], axis=0), axis=1).sum()
    lines = [
        f"latency    {_spread(latencies, 1e3, 'ms')} from camera to command, {len(latencies)} images of {len(stamps)}",
        f"commands   {path:.2f} m of way; the robot is {_spread(distances, 1e3, 'mm')} and "
        f"{_spread(np.degrees(angles).tolist(), 1, 'degrees')} from them",
    ]
    if labels is not None and (tracking := track(motion, stamps, labels, camera)) is not None:
        lines.append(
            f"operator   the robot is {1e3 * tracking.delay:.0f} ms behind the true hand and then "
            f"{_spread(tracking.errors.tolist(), 1e3, 'mm')} from its motion"
        )
    return "\n".join(lines)


def track(motion: Motion, stamps: Sequence[int], labels: Mapping[str, Any], camera: Pose) -> Tracking | None:
    """Compares the motion of the robot with that of the true right hand; None if they have too little in common.

    Only its motion is compared: where it began is chosen when the clutch is engaged.
    """
    moving = [number for number, told in enumerate(motion.commanded) if told is not None]
    if not moving:
        return None
    times = np.array(motion.times[moving[0] :]) / 1e9
    reached = np.array([pose.position for pose in motion.reached[moving[0] :]])
    hands, at = [], []
    for stamp, frame in zip(stamps, labels["frames"], strict=False):
        wrist = next((hand["joints"][0] for hand in frame["hands"] if hand["side"] == "right"), None)
        if wrist is not None and times[0] <= stamp / 1e9 <= times[-1] - LONGEST_DELAY:
            hands.append(camera.apply(np.array(wrist)))
            at.append(stamp / 1e9)
    if len(hands) < 2:
        return None
    best: Tracking | None = None
    for delay in np.arange(0, LONGEST_DELAY, DELAY_STEP):
        robot = np.stack([np.interp(np.array(at) + delay, times, axis) for axis in reached.T], axis=1)
        difference = robot - np.array(hands)
        errors = np.linalg.norm(difference - np.median(difference, axis=0), axis=1)
        if best is None or np.mean(errors) < np.mean(best.errors):
            best = Tracking(float(delay), errors)
    return best


def _spread(values: Sequence[float], scale: float, unit: str) -> str:
    median, p95 = scale * np.percentile(values, (50, 95))
    return f"{_number(median)} {unit} (95 %: {_number(p95)})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
