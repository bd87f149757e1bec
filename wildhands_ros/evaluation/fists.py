"""Measures how the estimated distance of hands swings that close and open fast, with and without depth."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..config import EstimatorConfig, SearchWindows
from ..estimator import Estimator
from ..synthetic.demo_clip.clip import CAMERA, FPS, DemoClip
from ..synthetic.demo_clip.motion import AWAY, FIST, NEAR_AWAY, OPEN, Key
from ..synthetic.depth import SENSORS, depth_image
from ..synthetic.render import render
from ..types import DepthStatus, Side
from .metrics import median_and_p95

SECONDS = 2.2
_POSES = ((0.0, OPEN), (0.5, OPEN), (0.7, FIST), (1.2, FIST), (1.4, OPEN), (1.7, OPEN), (1.9, FIST), (SECONDS, FIST))
"""Seconds and postures: hands close and open within 0.2 s."""
_PLACES = {Side.RIGHT: (0.15, -0.15, AWAY), Side.LEFT: (-0.15, 0.15, NEAR_AWAY)}
"""For each side x of the wrist in metres, x of the fingers' direction, and direction of the palm."""
KEYS = {
    side: tuple(Key(time, (x, 0.15, 0.5), (along, -0.93, 0.34), palm, pose) for time, pose in _POSES)
    for side, (x, along, palm) in _PLACES.items()
}


def evaluate_fists(step: int = 2) -> dict[str, dict[str, Any]]:
    """Estimates two hands at rest that close to a fist and open, as a stream.

    Args:
        step: Every n-th frame is estimated.

    Returns:
        For "colour alone" and each depth sensor: errors of the wrist, range and standard deviation of the errors of the
        distance, and the share of the hands whose depth was used.
    """
    clip = DemoClip(KEYS)
    sensors = {"colour alone": None, **{sensor.name: sensor for sensor in SENSORS}}
    estimators = {name: Estimator(EstimatorConfig(search=SearchWindows())) for name in sensors}
    wrist: dict[str, list[float]] = {name: [] for name in sensors}
    distance: dict[str, list[float]] = {name: [] for name in sensors}
    used: dict[str, list[bool]] = {name: [] for name in sensors}
    for number in range(0, round(SECONDS * FPS), step):
        time = number / FPS
        scene = clip.scene(time)
        image = render(scene).image
        labels = {hand.side: hand.joints[0] for hand in clip.ground_truth(time).hands}
        for name, sensor in sensors.items():
            depth = None if sensor is None else depth_image(scene, sensor, np.random.default_rng(number))
            for hand in estimators[name](image, CAMERA, time, depth=depth).hands:
                label = labels[hand.side]
                wrist[name].append(1000 * float(np.linalg.norm(hand.joints[0] - label)))
                distance[name].append(100 * (float(np.linalg.norm(hand.joints[0]) / np.linalg.norm(label)) - 1))
                used[name].append(hand.depth is DepthStatus.USED)
    return {
        name: {
            "hands": len(errors),
            "wrist_mm": median_and_p95(np.array(wrist[name])),
            "distance_percent": {"low": min(errors), "high": max(errors), "stddev": float(np.std(errors))},
            "depth_used_percent": 100 * float(np.mean(used[name])),
        }
        for name, errors in distance.items()
        if errors
    }


def describe_fists(figures: dict[str, dict[str, Any]]) -> str:
    """Returns the figures of ``evaluate_fists`` as text."""
    width = max(map(len, figures))
    lines = []
    for name, row in figures.items():
        wrist, distance = row["wrist_mm"], row["distance_percent"]
        lines.append(
            f"{name:{width}}  {row['hands']} hands   wrist {wrist['median']:5.1f} / {wrist['p95']:5.1f} mm   "
            f"distance {distance['low']:+.1f} to {distance['high']:+.1f} %   "
            f"depth used {row['depth_used_percent']:.0f} %"
        )
    return "\n".join(lines)
