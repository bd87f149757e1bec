"""Measures on the demo's clip what a depth camera adds, and what its learned hand lengths are worth without it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..config import EstimatorConfig, SearchWindows
from ..estimator import Estimator
from ..fitting.hand_length import hand_length
from ..geometry.camera import Camera
from ..geometry.depth_image import DepthImage
from ..io.progress import LOADING, busy, with_progress
from ..io.sources import open_source
from ..synthetic.demo_clip.clip import CAMERA, FPS, DemoClip
from ..synthetic.depth import STEREO, depth_image
from ..types import HandEstimate, Side
from .metrics import mpjpe

LEARNING = 5.0
"""Seconds for which hands are learned from depth before it ends."""
RUNS = {"colour alone": 0.0, "with depth": np.inf, "depth for 5 s, then colour alone": LEARNING}
"""Seconds for which each run has depth."""


def evaluate_clip(path: Path, frames: Iterable[int]) -> dict[str, dict[str, Any]]:
    """Estimates the clip as a stream, with and without a stereo camera's depth.

    Args:
        path: The clip.
        frames: Numbers of the frames that are estimated, ascending.

    Returns:
        Figures of each of ``RUNS`` over the frames after ``LEARNING``: errors of wrist and joints, of the distance, and
        of the learned lengths.
    """
    clip, wanted = DemoClip(), sorted(set(frames))
    config = EstimatorConfig(search=SearchWindows())
    with busy(LOADING):
        estimators = {name: Estimator(config) for name in RUNS}
    errors: dict[str, list[tuple[float, float, float]]] = {name: [] for name in RUNS}
    source = open_source(str(path))
    for number, frame in enumerate(with_progress(source, source.count, "frame")):
        if number not in wanted:
            continue
        time = number / FPS
        truth = clip.ground_truth(time)
        depth = depth_image(clip.scene(time), STEREO, np.random.default_rng([0, number]))
        for name, seconds in RUNS.items():
            found = _estimates(estimators[name], frame.image, CAMERA, time, depth if time < seconds else None)
            for true in truth.hands:
                hand = found.get(true.side)
                if hand is None or time < LEARNING:
                    continue
                distance = float(np.linalg.norm(true.joints[0]))
                off = float(np.linalg.norm(hand.joints[0])) / distance - 1
                wrist = 1000 * float(np.linalg.norm(hand.joints[0] - true.joints[0]))
                errors[name].append((wrist, 1000 * mpjpe(hand.joints, true.joints), 100 * off))
    betas = clip.ground_truth(0.0).hands[0].mano.betas
    return {name: _figures(estimators[name], errors[name], betas) for name in RUNS}


def describe_clip(figures: dict[str, dict[str, Any]]) -> str:
    """Returns the figures of ``evaluate_clip`` as text."""
    width = max(map(len, figures))
    lines = [f"{'':{width}}  hands   wrist, median   joints (root-relative)   distance   length of right and left hand"]
    for name, row in figures.items():
        lengths = ", ".join(f"{error:+.1f} %" for error in row["length_percent"].values()) or "unknown"
        lines.append(
            f"{name:{width}}  {row['hands']:5}   {row['wrist_mm']:10.1f} mm   {row['mpjpe_mm']:19.1f} mm   "
            f"{row['distance_percent']:+6.1f} %   {lengths}"
        )
    return "\n".join(lines)


def _estimates(
    estimator: Estimator, image: np.ndarray, camera: Camera, time: float, depth: DepthImage | None
) -> dict[Side, HandEstimate]:
    return {hand.side: hand for hand in estimator(image, camera, stamp=time, depth=depth).hands}


def _figures(estimator: Estimator, errors: list[tuple[float, float, float]], betas: np.ndarray) -> dict[str, Any]:
    wrist, relative, distance = np.median(errors, axis=0) if errors else (np.nan,) * 3
    lengths = {
        side.value: 100 * (length.metres / hand_length(estimator.hand_model[side], betas) - 1)
        for side, length in estimator.hand_lengths.known().items()
    }
    return {
        "hands": len(errors),
        "wrist_mm": float(wrist),
        "mpjpe_mm": float(relative),
        "distance_percent": float(distance),
        "length_percent": lengths,
    }
