"""What limits the fusion of views: the same hands fitted to true keypoints, and to noise of the measured size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..fitting.keypoint_fit import KEYPOINT_STDDEV
from ..fitting.keypoint_marks import marks_matrix
from ..fitting.multiview_fit import HandView, MultiviewFit
from .metrics import median_and_p95

_RAYLEIGH_MEDIAN = np.sqrt(2 * np.log(2))
"""Median length of a 2D normal vector over its standard deviation along each axis."""
_MARKS = marks_matrix()


@dataclass(frozen=True)
class ViewedHand:
    """A hand that several cameras have seen."""

    views: Sequence[HandView]
    joints: np.ndarray
    """(21, 3) label in the common frame."""


def keypoint_floor(fit: MultiviewFit, hands: Sequence[ViewedHand], rng: np.random.Generator) -> dict[str, Any]:
    """Fits hands to true keypoints, without noise and with independent noise as large as the errors of the detected
    ones.

    Args:
        fit: The fit.
        hands: The hands.
        rng: Source of random numbers.

    Returns:
        Errors of the wrists in millimetres ("true_keypoints", "independent_noise"), robust standard deviations of the
        detected keypoints as percentages of the hands' extent in the image ("keypoint_stddev_percent", and of that the
        part that all keypoints of a view have in common, "common_stddev_percent"), and the part of each keypoint's
        error that is the same in all views ("systematic_percent", the largest one).
    """
    errors = np.array([[_errors(view, hand.joints) for view in hand.views] for hand in hands])
    stddev = np.median(np.linalg.norm(errors, axis=-1), axis=(0, 1)) / _RAYLEIGH_MEDIAN
    common = np.median(np.linalg.norm(errors.mean(axis=2), axis=-1)) / _RAYLEIGH_MEDIAN
    systematic = np.linalg.norm(np.median(errors, axis=(0, 1)), axis=-1)
    noise = rng.normal(size=errors.shape) * stddev[:, None]
    return {
        "true_keypoints_wrist_mm": median_and_p95(_wrists(fit, hands, np.zeros_like(noise))),
        "independent_noise_wrist_mm": median_and_p95(_wrists(fit, hands, noise)),
        "keypoint_stddev_percent": float(100 * np.median(stddev)),
        "common_stddev_percent": float(100 * common),
        "systematic_percent": float(100 * systematic.max()),
    }


def _wrists(fit: MultiviewFit, hands: Sequence[ViewedHand], errors: np.ndarray) -> np.ndarray:
    """Returns the (N,) errors of the wrists in millimetres, with (N, V, 21, 2) errors of the keypoints."""
    found = []
    for hand, of_hand in zip(hands, errors, strict=True):
        views = [_with_errors(view, hand.joints, of_view) for view, of_view in zip(hand.views, of_hand, strict=True)]
        found.append(1000 * np.linalg.norm(fit.fit(views).hand.joints[0] - hand.joints[0]))
    return np.array(found)


def _errors(view: HandView, joints: np.ndarray) -> np.ndarray:
    """Returns the (21, 2) errors of a view's keypoints along the hand in the image and across, as fractions of its
    extent; unknown keypoints have none."""
    rays, along, across = _frame(view, joints)
    differences = (np.where(np.isfinite(view.rays), view.rays, rays) - rays) / _extent(view)
    return np.stack([differences @ along, differences @ across], axis=-1)


def _with_errors(view: HandView, joints: np.ndarray, errors: np.ndarray) -> HandView:
    rays, along, across = _frame(view, joints)
    rays = rays + _extent(view) * (errors[:, :1] * along + errors[:, 1:] * across)
    return replace(view, rays=rays / np.linalg.norm(rays, axis=1, keepdims=True))


def _extent(view: HandView) -> float:
    """Returns the extent of a hand in the image in radians."""
    return view.sigma / KEYPOINT_STDDEV


def _frame(view: HandView, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the (21, 3) rays to the true keypoints, and directions along the palm and across, as seen in the view."""
    rays = _MARKS @ joints - view.origin
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    centre = rays.mean(0) / np.linalg.norm(rays.mean(0))
    along = rays[9] - rays[0]
    along -= centre * (along @ centre)
    along /= np.linalg.norm(along)
    return rays, along, np.cross(centre, along)
