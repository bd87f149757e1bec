"""The estimator's stages on the stream, frame by frame in one process."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice

from ..config import EstimatorConfig
from ..estimator import Estimator
from ..types import FrameEstimate
from .clip import RATE, Clip

_WARM_UP = 15
"""Frames until tracks are known and the hands' shapes are settled."""


def run_stages(
    clip: Clip, frames: int, config: EstimatorConfig | None = None
) -> tuple[dict[str, list[float]], list[FrameEstimate]]:
    """Seconds of each stage of each frame, by the names of ``FrameEstimate.seconds`` and ``fit_per_hand``; and the frames' estimates."""
    estimator = Estimator(config)
    seconds: dict[str, list[float]] = defaultdict(list)
    estimates = []
    try:
        for i, image in enumerate(islice(clip.endless(), _WARM_UP + frames)):
            estimate = estimator(image, clip.camera, i / RATE)
            if i < _WARM_UP:
                continue
            estimates.append(estimate)
            for stage, value in estimate.seconds.items():
                seconds[stage].append(value)
            if estimate.hands:
                seconds["fit_per_hand"].append(estimate.seconds["fit"] / len(estimate.hands))
    finally:
        estimator.close()
    return dict(seconds), estimates
