"""``wildhands jitter``: how much smoothing steadies the hands compared with single frames, and the lag that it adds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..estimator import Estimator
from ..geometry.camera import Camera
from ..smoothing.hands import HandSmoother
from ..types import FrameEstimate, HandEstimate
from .lag import lag
from .video import TIPS

_POINTS = [0, *TIPS]
_MOVING = 0.1
"""Speed in metres per second above which a point counts as moving."""
_SAME_PLACE = 0.5
"""Two estimates of one frame belong to the same hand if the mean distance of their 2D joints is below this fraction of
the box."""


@dataclass
class _Run:
    """One track over all frames in three estimates: (T, 6, 3) wrist and fingertips, NaN where there is no estimate."""

    raw: np.ndarray
    tracked: np.ndarray
    smoothed: np.ndarray


def measure_jitter(estimator: Estimator, frames: Iterable[tuple[np.ndarray, float]], camera: Camera) -> dict:
    """Compare three estimates of each hand in a video.

    ``raw``: every frame as a still image, without tracking and without the fit's temporal terms.
    ``tracked``: the frames as a stream; the fit's temporal terms already steady it.
    ``smoothed``: the stream after the One-Euro filter, as the node publishes it.

    Args:
        estimator: The estimator to measure.
        frames: (H, W, 3) images with their stamps in seconds.
        camera: The camera of all frames.

    Returns:
        For each estimate ``wrist_mm`` and ``tips_mm``, the RMS of the second differences, and ``..._median_mm``, their
        medians, in millimetres over the frames in which all three exist. The lags are in milliseconds (see ``lag``).
        ``lag_ms``: of smoothed behind raw, for wrist and fingertips in the image plane (in metres at the hand's mean
        distance), which is all that tracking and filter add. Depth is left out, because a single frame is no reference
        there: its depth varies by several per cent with the pose of the fingers. ``depth_lag_ms``: the same in depth,
        for completeness. ``filter_lag_ms``: of smoothed behind tracked in 3D, the filter's own part.

    Raises:
        ValueError: No hand is visible for long enough.
    """
    smoother = HandSmoother(estimator.hand_model)
    estimates, stamps = [], []
    for image, stamp in frames:
        tracked = estimator(image, camera, stamp)
        estimates.append((estimator(image, camera), tracked, smoother(tracked, stamp)))
        stamps.append(stamp)
    runs = list(_runs(estimates))
    if len(stamps) < 3 or not runs:
        raise ValueError("no hand is in the video for long enough to measure its jitter")
    period = 1000 * float(np.median(np.diff(stamps)))
    threshold = _MOVING * period / 1000
    image_plane = [(_in_image(run.raw), _in_image(run.smoothed)) for run in runs]
    depth = [(run.raw[..., 2:], run.smoothed[..., 2:]) for run in runs]
    return {
        "raw": _jitter([run.raw for run in runs]),
        "tracked": _jitter([run.tracked for run in runs]),
        "smoothed": _jitter([run.smoothed for run in runs]),
        "lag_ms": _lag(image_plane, threshold, period),
        "depth_lag_ms": _lag(depth, threshold, period),
        "filter_lag_ms": _lag([(run.tracked, run.smoothed) for run in runs], threshold, period),
        "frames": len(stamps),
        "hands": len(runs),
    }


def describe_jitter(figures: dict) -> str:
    """Format the figures of ``measure_jitter`` as text."""
    lines = [f"{'mm':>10}  {'wrist':>7}  {'tips':>7}   root mean square of second differences (median)"]
    for name in ("raw", "tracked", "smoothed"):
        row = figures[name]
        medians = f"({row['wrist_median_mm']:.2f}, {row['tips_median_mm']:.2f})"
        lines.append(f"{name:>10}  {row['wrist_mm']:7.2f}  {row['tips_mm']:7.2f}   {medians}")
    ratios = [figures["raw"][key] / figures["smoothed"][key] for key in ("wrist_mm", "tips_mm")]
    lags = [_text(figures[key]) for key in ("lag_ms", "depth_lag_ms", "filter_lag_ms")]
    lines.append(f"steadier than single frames by factors of {ratios[0]:.1f} (wrist) and {ratios[1]:.1f} (fingertips)")
    lines.append(f"lag: {lags[0]} in the image plane, {lags[1]} in depth, of which the filter adds {lags[2]}")
    return "\n".join(lines)


def _runs(estimates: list[tuple[FrameEstimate, FrameEstimate, FrameEstimate]]) -> Iterable[_Run]:
    """Yield each track that lasts for at least three frames."""
    tracks = dict.fromkeys(hand.track_id for _, _, smoothed in estimates for hand in smoothed.hands)
    for track in tracks:
        points = np.full((3, len(estimates), len(_POINTS), 3), np.nan)
        for i, (raw, tracked, smoothed) in enumerate(estimates):
            hands = [hand for frame in (tracked, smoothed) for hand in frame.hands if hand.track_id == track]
            still = _same_hand(hands[0], raw) if len(hands) == 2 else None
            if still is not None:
                points[:, i] = [hand.joints[_POINTS] for hand in (still, *hands)]
        run = _Run(*points)
        if np.isfinite(np.diff(run.raw, n=2, axis=0)).any():
            yield run


def _same_hand(hand: HandEstimate, frame: FrameEstimate) -> HandEstimate | None:
    size = (hand.box[2:] - hand.box[:2]).max()
    distances = [np.linalg.norm(other.joints_2d - hand.joints_2d, axis=-1).mean() / size for other in frame.hands]
    return frame.hands[int(np.argmin(distances))] if distances and min(distances) < _SAME_PLACE else None


def _jitter(positions: list[np.ndarray]) -> dict[str, float]:
    """Return RMS and median of the second differences of (T, 6, 3) wrists and fingertips, NaN where unknown."""
    lengths = 1000 * np.concatenate([np.linalg.norm(np.diff(track, n=2, axis=0), axis=-1) for track in positions])
    wrist, tips = lengths[:, 0], lengths[:, 1:]
    return {
        "wrist_mm": float(np.sqrt(np.nanmean(wrist**2))),
        "tips_mm": float(np.sqrt(np.nanmean(tips**2))),
        "wrist_median_mm": float(np.nanmedian(wrist)),
        "tips_median_mm": float(np.nanmedian(tips)),
    }


def _in_image(points: np.ndarray) -> np.ndarray:
    """Project (T, N, 3) points to (T, N, 2) image-plane coordinates, in metres at their mean distance."""
    return points[..., :2] / points[..., 2:] * np.nanmean(points[..., 2])


def _lag(pairs: list[tuple[np.ndarray, np.ndarray]], threshold: float, period: float) -> float | None:
    """Return the lag in milliseconds of the second signal of the longest track's pair; None if too little moves."""
    reference, follower = max(pairs, key=lambda pair: np.isfinite(pair[0]).sum())
    milliseconds = period * lag(reference, follower, threshold)
    return milliseconds if math.isfinite(milliseconds) else None


def _text(milliseconds: float | None) -> str:
    return "an unknown time (too little moves)" if milliseconds is None else f"{milliseconds:.0f} ms"
