"""From a detection to a fitted hand: rays from the camera, and the side where it is in doubt."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..geometry.camera import Camera
from ..types import Detection, ManoParameters, Side
from .keypoint_fit import FitResult, FitState, KeypointFit, keypoint_sigma

LEAST_KEYPOINTS = 6
"""Fewer known ones than this do not tell a hand's pose."""
SURE_SIDE = 0.8
"""Below this confidence in the side, both are fitted and the cheaper one is taken (right on 29 of 30 real hands)."""


def fit_detection(
    fits: Mapping[Side, KeypointFit],
    detection: Detection,
    camera: Camera,
    start: FitState | None = None,
    dt: float = 1 / 30,
    hand_length: float | None = None,
    initial: Mapping[Side, ManoParameters] | None = None,
) -> FitResult:
    """Fits the hand of one detection; ``result.side`` says which side it was fitted as.

    Args:
        fits: the fit of each side's hand model.
        detection: must have keypoints. With a ``side_score`` below ``SURE_SIDE`` or unknown, both sides are tried.
        camera: of the image in which the detection was made.
        start, dt, hand_length, initial: see ``KeypointFit.fit``; ``initial`` for the sides for which there is one.

    Raises:
        ValueError: the detection has no keypoints, or too few that the camera can see.
    """
    if detection.keypoints is None:
        raise ValueError("the keypoint fit needs a detection with keypoints")
    rays = camera.rays(detection.known_keypoints)
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
    """Those that are worth a try: both where the detection is not sure."""
    sure = detection.side is not None and detection.side_score >= SURE_SIDE
    return (detection.side,) if sure else (Side.RIGHT, Side.LEFT)


def reprojection_error(joints_2d: np.ndarray, detection: Detection) -> float:
    """Mean distance of (21, 2) pixels to the detection's keypoints over its box's longer side; NaN without keypoints.

    Joints outside of the lens's field have no pixel (NaN) and are left out, as long as there are enough others.
    """
    if detection.keypoints is None:
        return float("nan")
    distances = np.linalg.norm(joints_2d - detection.known_keypoints, axis=-1)
    distances = distances[np.isfinite(distances)]
    if len(distances) < LEAST_KEYPOINTS:
        return float("nan")
    return float(distances.mean() / (detection.box[2:] - detection.box[:2]).max())
