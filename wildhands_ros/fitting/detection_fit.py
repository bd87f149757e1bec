"""From a detection to a fitted hand: rays from the camera, and the side where it is in doubt."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..geometry.camera import Camera
from ..structures import Detection, ManoParameters, Side
from .keypoint_fit import FitResult, FitState, KeypointFit, keypoint_sigma

SURE_SIDE = 0.8
"""Below this confidence in the side, both are fitted and the cheaper one is taken (right on 29 of 30 real hands)."""


def fit_detection(
    fits: Mapping[Side, KeypointFit],
    detection: Detection,
    camera: Camera,
    start: FitState | None = None,
    dt: float = 1 / 30,
    hand_length: float | None = None,
    initial: ManoParameters | None = None,
) -> FitResult:
    """Fits the hand of one detection; ``result.side`` says which side it was fitted as.

    Args:
        fits: the fit of each side's hand model.
        detection: must have keypoints. With a ``side_score`` below ``SURE_SIDE`` or unknown, both sides are tried.
        camera: of the image in which the detection was made.
        start, dt, hand_length, initial: see ``KeypointFit.fit``; ``initial`` belongs to the detection's side and settles it.

    Raises:
        ValueError: the detection has no keypoints, or too few that the camera can see.
    """
    if detection.keypoints is None:
        raise ValueError("the keypoint fit needs a detection with keypoints")
    rays = camera.rays(detection.keypoints)
    sigma = keypoint_sigma(rays)
    sure = is_sure_of_side(detection) or (detection.side is not None and initial is not None)
    results = [
        fits[candidate].fit(rays, sigma, candidate, detection.world, detection.keypoint_weights, start, dt, hand_length, initial)
        for candidate in ((detection.side,) if sure else (Side.RIGHT, Side.LEFT))
    ]
    return min(results, key=lambda result: result.cost)


def is_sure_of_side(detection: Detection) -> bool:
    """Whether one side needs to be fitted only."""
    return detection.side is not None and detection.side_score >= SURE_SIDE


def reprojection_error(joints_2d: np.ndarray, detection: Detection) -> float:
    """Mean distance of (21, 2) pixels to the detection's keypoints over its box's longer side; NaN without keypoints."""
    if detection.keypoints is None:
        return float("nan")
    seen = np.ones(21, bool) if detection.keypoint_weights is None else detection.keypoint_weights > 0
    return float(np.linalg.norm(joints_2d - detection.keypoints, axis=-1)[seen].mean() / (detection.box[2:] - detection.box[:2]).max())
