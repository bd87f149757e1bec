"""Measures the stages of the estimator on the clip, in one process."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice

from ..config import EstimatorConfig
from ..estimator import Estimator
from ..types import FrameEstimate
from .clip import RATE, Clip

FIT, POSE = "fit", "pose"
"""Stages of ``FrameEstimate.seconds`` that the benchmark reports apart."""
WARM_UP = 15
"""Frames until the tracks are established and the shapes of the hands have converged."""


@dataclass(frozen=True)
class StageTimes:
    """What was measured."""

    seconds: dict[str, list[float]]
    """Seconds of each stage of each frame, by the names in ``FrameEstimate.seconds``."""
    fit_seconds_per_hand: list[float]
    """Of each frame that has hands."""
    estimates: list[FrameEstimate]


def run_stages(clip: Clip, frames: int, config: EstimatorConfig | None = None) -> StageTimes:
    """Runs the estimator on this number of frames."""
    estimator = Estimator(config)
    seconds: dict[str, list[float]] = defaultdict(list)
    estimates = []
    try:
        for i, image in enumerate(islice(clip.endless(), WARM_UP + frames)):
            estimate = estimator(image, clip.camera, i / RATE)
            if i < WARM_UP:
                continue
            estimates.append(estimate)
            for stage, value in estimate.seconds.items():
                seconds[stage].append(value)
    finally:
        estimator.close()
    per_hand = [estimate.seconds[FIT] / len(estimate.hands) for estimate in estimates if estimate.hands]
    return StageTimes(dict(seconds), per_hand, estimates)
