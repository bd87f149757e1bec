"""Fits the hand of a detection: converts its keypoints to rays, and tries both sides if the side is uncertain."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..geometry.camera import Camera
from ..types import Detection, ManoParameters, Side
from .keypoint_fit import FitResult, FitState, KeypointFit, keypoint_sigma

LEAST_KEYPOINTS = 6
"""Minimum number of known keypoints for a pose."""
SURE_SIDE = 0.8
"""Confidence in the side below which both sides are fitted. The one of lower cost is then correct for 29 of 30 real
hands."""


def fit_detection(
    fits: Mapping[Side, KeypointFit],
    detection: Detection,
    camera: Camera,
    start: FitState | None = None,
    dt: float = 1 / 30,
    hand_length: float | None = None,
    initial: Mapping[Side, ManoParameters] | None = None,
) -> FitResult:
    """Fits the hand of one detection.

    Args:
        fits: Fit of each side's hand model.
        detection: Detection with keypoints. If its ``side_score`` is below ``SURE_SIDE`` or unknown, both sides are
            tried.
        camera: Camera of the image.
        start: State of the same hand's last fit.
        dt: Seconds since then.
        hand_length: Length from the wrist to the middle fingertip in metres, if known.
        initial: Parameters from another estimator, for any of the sides.

    Returns:
        The fit of lower cost; its ``side`` is the side as which the hand was fitted.

    Raises:
        ValueError: The detection has no keypoints, or the camera sees too few of them.
    """
    keypoints = detection.known_keypoints
    if keypoints is None:
        raise ValueError("the keypoint fit needs a detection with keypoints")
    rays = camera.rays(keypoints)
    sigma = keypoint_sigma(rays)
    initial = initial or {}
    results = [
        fits[side].fit(
            rays, sigma, side, detection.world, detection.keypoint_weights, start, dt, hand_length, initial.get(side)
        )
        for side in possible_sides(detection)
    ]
    return min(results, key=lambda result: result.cost)


def possible_sides(detection: Detection) -> tuple[Side, ...]:
    """Returns the sides as which a detection should be fitted: both if its side is uncertain."""
    if detection.side is not None and detection.side_score >= SURE_SIDE:
        return (detection.side,)
    return (Side.RIGHT, Side.LEFT)


def reprojection_error(joints_2d: np.ndarray, detection: Detection) -> float:
    """Computes the mean distance between projected joints and the keypoints of a detection.

    Joints outside the field of view of the lens have no pixel (NaN) and are ignored if there are enough others.

    Args:
        joints_2d: (21, 2) pixels.
        detection: Detection of the hand.

    Returns:
        The distance as a fraction of the box's longer side; NaN without enough keypoints.
    """
    keypoints = detection.known_keypoints
    if keypoints is None:
        return float("nan")
    distances = np.linalg.norm(joints_2d - keypoints, axis=-1)
    distances = distances[np.isfinite(distances)]
    if len(distances) < LEAST_KEYPOINTS:
        return float("nan")
    return float(distances.mean() / (detection.box[2:] - detection.box[:2]).max())
