"""Fits the hands of detections: converts keypoints to rays, and tries both sides where the side is uncertain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..geometry.camera import Camera
from ..types import Detection, ManoParameters, Side
from .hand_length import HandLengths
from .keypoint_fit import FitProblem, FitResult, FitState, KeypointFit, keypoint_sigma
from .keypoint_marks import expected_shrinkage, rays_to_joints

LEAST_KEYPOINTS = 6
"""Minimum number of known keypoints for a pose."""
SURE_SIDE = 0.8
"""Confidence in the side below which both sides are fitted. The one of lower cost is then correct for 29 of 30 real
hands."""


@dataclass(frozen=True)
class FitRequest:
    """A detection to fit."""

    detection: Detection
    """Detection with keypoints. If its ``side_score`` is below ``SURE_SIDE`` or unknown, both sides are tried."""
    start: FitState | None = None
    """State of the same hand's last fit."""
    dt: float = 1 / 30
    """Seconds since then."""
    initial: Mapping[Side, ManoParameters] = field(default_factory=dict)
    """Parameters from another estimator, for any of the sides."""


def fit_detections(
    fits: Mapping[Side, KeypointFit], requests: Sequence[FitRequest], camera: Camera, lengths: HandLengths | None = None
) -> list[FitResult | None]:
    """Fits the hands of several detections at once.

    Args:
        fits: Fit of each side's hand model. Hands of both sides are fitted together if it is the same.
        requests: The detections.
        camera: Camera of the image.
        lengths: Known lengths of the hands.

    Returns:
        For each detection the fit of lower cost, whose ``side`` is the side as which the hand was fitted; None if it
        has no keypoints, or if the camera sees too few of them.
    """
    problems: list[FitProblem] = []
    owners: list[int] = []
    known = [i for i, request in enumerate(requests) if request.detection.known_keypoints is not None]
    keypoints = np.array([requests[i].detection.known_keypoints for i in known]).reshape(-1, 21, 2)
    for i, rays in zip(known, camera.rays(keypoints), strict=True):
        try:
            found = _problems(fits, requests[i], rays, lengths or HandLengths())
        except ValueError:
            continue
        problems += found
        owners += [i] * len(found)
    results: list[FitResult | None] = [None] * len(requests)
    for fit in {id(fit): fit for fit in fits.values()}.values():
        own = [i for i, problem in enumerate(problems) if fits[problem.side] is fit]
        for i, result in zip(own, fit.solve([problems[i] for i in own]), strict=True):
            best = results[owners[i]]
            if best is None or result.cost < best.cost:
                results[owners[i]] = result
    return results


def _problems(
    fits: Mapping[Side, KeypointFit], request: FitRequest, rays: np.ndarray, lengths: HandLengths
) -> list[FitProblem]:
    """Returns the fit of each possible side to the (21, 3) rays of a detection's keypoints.

    Raises:
        ValueError: The camera sees too few of the keypoints.
    """
    detection = request.detection
    world, weights = detection.world, detection.keypoint_weights
    if world is not None:  # Only landmark networks give world landmarks.
        rays = rays_to_joints(rays, expected_shrinkage(detection.score))
    problems = []
    for side in possible_sides(detection):
        start, initial, length = request.start, request.initial.get(side), lengths.get(side)
        problems.append(
            fits[side].problem(rays, keypoint_sigma(rays), side, world, weights, start, request.dt, length, initial)
        )
    return problems


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
