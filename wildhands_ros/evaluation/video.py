"""``wildhands evaluate video``: steadiness and speed on a video without ground truth."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from scipy.spatial.transform import Rotation

from ..estimator import Estimator
from ..geometry.camera import Camera
from ..hand_model.joints import MEDIAPIPE_JOINT_NAMES
from ..types import FrameEstimate, HandEstimate

FLIP_ANGLE = np.radians(90)
"""A wrist that rotates by more than this between two frames has flipped: at 30 Hz it would be 2700 degrees per
second."""
TIPS = [index for index, name in enumerate(MEDIAPIPE_JOINT_NAMES) if name.endswith("_tip")]


def evaluate_video(estimator: Estimator, frames: Iterable[tuple[np.ndarray, float]], camera: Camera) -> dict:
    """Run the estimator over a video.

    Args:
        estimator: The estimator to measure.
        frames: (H, W, 3) images with their stamps in seconds.
        camera: The camera of all frames.

    Returns:
        ``frames``, ``frames_with_hands_percent``, ``hands``, ``tracks``, ``reprojection_percent`` (of the box's longer
        side, mean over hands), ``flipped_wrists``, ``jitter_wrist_mm`` and ``jitter_tips_mm`` (RMS of the second
        differences along each track), and ``fps`` (of the estimator alone).

    Raises:
        ValueError: The video has no frames.
    """
    estimates, seconds = [], 0.0
    for image, stamp in frames:
        start = time.perf_counter()
        estimates.append(estimator(image, camera, stamp))
        seconds += time.perf_counter() - start
    if not estimates:
        raise ValueError("the video has no frames")
    hands = [hand for estimate in estimates for hand in estimate.hands]
    runs = list(_runs(estimates))
    return {
        "frames": len(estimates),
        "frames_with_hands_percent": 100 * float(np.mean([bool(estimate.hands) for estimate in estimates])),
        "hands": len(hands),
        "tracks": len({hand.track_id for hand in hands}),
        "reprojection_percent": 100 * float(np.nanmean([hand.reprojection_error for hand in hands])) if hands else None,
        "flipped_wrists": sum(_flips(run) for run in runs),
        "jitter_wrist_mm": _jitter([np.array([hand.joints[:1] for hand in run]) for run in runs]),
        "jitter_tips_mm": _jitter([np.array([hand.joints[TIPS] for hand in run]) for run in runs]),
        "fps": len(estimates) / seconds,
    }


def _runs(estimates: list[FrameEstimate]) -> Iterable[list[HandEstimate]]:
    """Yield the uninterrupted runs of each track."""
    open_runs: dict[str, list[HandEstimate]] = {}
    for estimate in estimates:
        current = {}
        for hand in estimate.hands:
            current[hand.track_id] = open_runs.pop(hand.track_id, [])
            current[hand.track_id].append(hand)
        yield from open_runs.values()
        open_runs = current
    yield from open_runs.values()


def _flips(run: list[HandEstimate]) -> int:
    rotations = Rotation.from_matrix([hand.wrist_rotation for hand in run])
    return int(((rotations[:-1].inv() * rotations[1:]).magnitude() > FLIP_ANGLE).sum()) if len(run) > 1 else 0


def _jitter(tracks: list[np.ndarray]) -> float | None:
    """Return the RMS of the second differences of (T, J, 3) positions, in millimetres; None if no track is long
    enough."""
    differences = [np.diff(track, n=2, axis=0).reshape(-1, 3) for track in tracks if len(track) > 2]
    return 1000 * float(np.sqrt((np.concatenate(differences) ** 2).sum(axis=-1).mean())) if differences else None
