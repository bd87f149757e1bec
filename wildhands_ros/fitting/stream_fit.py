"""The keypoint fit over time: the fit of each track starts from its last one."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakKeyDictionary

from ..geometry.camera import Camera
from ..hand_model.asset import HandAsset
from ..tracking.tracks import Track
from ..types import Detection, ManoParameters, Side
from .detection_fit import fit_detection, reprojection_error
from .keypoint_fit import FitResult, FitState, KeypointFit

WORST_REPROJECTION = 0.25
"""Mean reprojection error above which a fit does not explain its keypoints, as a fraction of the box's longer side."""


class StreamFit:
    """Fits the hands of detections, with or without a track.

    Args:
        assets: Hand model of each side.
        hand_length: Length from the wrist to the middle fingertip in metres; None if unknown.
    """

    def __init__(self, assets: Mapping[Side, HandAsset], hand_length: float | None):
        # The left hand of MANO is not the mirrored right one, so each side is fitted with its own model.
        self._fits = {Side.RIGHT: KeypointFit(assets[Side.RIGHT]), Side.LEFT: KeypointFit(assets[Side.LEFT].mirrored())}
        self._hand_length = hand_length
        self._states: WeakKeyDictionary[Track, tuple[FitState, float]] = WeakKeyDictionary()

    def fit(
        self,
        detection: Detection,
        camera: Camera,
        track: Track | None,
        stamp: float | None,
        initial: Mapping[Side, ManoParameters],
    ) -> FitResult | None:
        """Fits the hand of a detection with keypoints.

        Args:
            detection: Detection to fit.
            camera: Camera of the image.
            track: Track of the hand; None for a single image.
            stamp: Time of the image in seconds; None for a single image.
            initial: Predictions of the network by side.

        Returns:
            The fit; None if the camera sees too few of the keypoints, or if no hand explains them.
        """
        if track is None or stamp is None:
            return self._explained(detection, camera, None, 0.0, initial)
        state, last_stamp = self._states.get(track, (None, stamp))
        fitted = self._explained(detection, camera, state, stamp - last_stamp, initial)
        if fitted is None and state is not None:
            # The last fit was wrong, or this is another hand.
            fitted = self._explained(detection, camera, None, 0.0, initial)
        if fitted is not None:
            self._states[track] = fitted.state, stamp
        return fitted

    def correct(self, track: Track, fitted: FitResult) -> None:
        """Replaces the last fit of a track, from which its next one starts."""
        self._states[track] = fitted.state, self._states[track][1]

    def _explained(
        self,
        detection: Detection,
        camera: Camera,
        start: FitState | None,
        dt: float,
        initial: Mapping[Side, ManoParameters],
    ) -> FitResult | None:
        """Returns the fit; None if there are too few keypoints, or if it does not explain them."""
        try:
            fitted = fit_detection(
                self._fits, detection, camera, start=start, dt=dt, hand_length=self._hand_length, initial=initial
            )
        except ValueError:
            return None
        return fitted if reprojection_error(camera.project(fitted.joints), detection) < WORST_REPROJECTION else None
