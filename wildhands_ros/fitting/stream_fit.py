"""The keypoint fit over time: the fit of each track starts from its last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..geometry.camera import Camera
from ..hand_model.asset import HandAsset, joints_linear
from ..tracking.tracks import Track
from ..types import Detection, ManoParameters, Side
from .detection_fit import FitRequest, fit_detections, reprojection_error
from .hand_length import HandLengths
from .keypoint_fit import FitResult, FitState, KeypointFit

WORST_REPROJECTION = 0.25
"""Mean reprojection error above which a fit does not explain its keypoints, as a fraction of the box's longer side."""


class DetectedHand(NamedTuple):
    """A hand to fit."""

    detection: Detection
    """With keypoints."""
    track: Track | None
    """Track of the hand; None for a single image."""
    initial: Mapping[Side, ManoParameters]
    """Predictions of the network by side."""


class StreamFit:
    """Fits the hands of detections, with or without a track.

    Args:
        assets: Hand model of each side.
        lengths: Lengths of the hands, as far as they are known.
    """

    def __init__(self, assets: Mapping[Side, HandAsset], lengths: HandLengths | None = None):
        right, left = (assets[side].right_handed() for side in (Side.RIGHT, Side.LEFT))
        fit = KeypointFit(right)
        # The left hand of MANO is not the mirrored right one. The open hand's is, and both sides are fitted at once.
        are_alike = all(map(np.array_equal, joints_linear(right), joints_linear(left)))
        self._fits = {Side.RIGHT: fit, Side.LEFT: fit if are_alike else KeypointFit(left)}
        self.lengths = lengths or HandLengths()
        """Lengths of the hands, as far as they are known."""
        self._states: WeakKeyDictionary[Track, tuple[FitState, float]] = WeakKeyDictionary()

    def fit(self, hands: Sequence[DetectedHand], camera: Camera, stamp: float | None) -> list[FitResult | None]:
        """Fits the hands of an image.

        Args:
            hands: The hands.
            camera: Camera of the image.
            stamp: Time of the image in seconds; None for a single image.

        Returns:
            The fit of each hand; None if the camera sees too few of its keypoints, or if no hand explains them.
        """
        requests = [self._request(hand, stamp) for hand in hands]
        fitted = self._explained(requests, camera)
        # If there was a last fit, it was wrong, or this is another hand.
        lost = [i for i, request in enumerate(requests) if fitted[i] is None and request.start is not None]
        anew = self._explained([replace(requests[i], start=None, dt=0.0) for i in lost], camera)
        for i, result in zip(lost, anew, strict=True):
            fitted[i] = result
        if stamp is not None:
            for hand, result in zip(hands, fitted, strict=True):
                if hand.track is not None and result is not None:
                    self._states[hand.track] = result.state, stamp
        return fitted

    def correct(self, track: Track, fitted: FitResult) -> None:
        """Replaces the last fit of a track, from which its next one starts."""
        self._states[track] = fitted.state, self._states[track][1]

    def _request(self, hand: DetectedHand, stamp: float | None) -> FitRequest:
        state, dt = None, 0.0
        if hand.track is not None and stamp is not None:
            state, last_stamp = self._states.get(hand.track, (None, stamp))
            dt = stamp - last_stamp
        return FitRequest(hand.detection, state, dt, hand.initial)

    def _explained(self, requests: Sequence[FitRequest], camera: Camera) -> list[FitResult | None]:
        """Returns the fits; None if there are too few keypoints, or if the fit does not explain them."""
        fitted = fit_detections(self._fits, requests, camera, self.lengths)
        known = [i for i, result in enumerate(fitted) if result is not None]
        if known:
            projected = camera.project(np.stack([result.joints for result in fitted if result is not None]))
            for i, joints_2d in zip(known, projected, strict=True):
                if not reprojection_error(joints_2d, requests[i].detection) < WORST_REPROJECTION:
                    fitted[i] = None
        return fitted
