"""The keypoint fit over time: each track's hand starts from where it was."""

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
"""Mean reprojection error, as a fraction of the box's longer side, above which a fit does not explain its keypoints."""


class StreamFit:
    """Fits the hands of detections, with or without a track.

    ``hand_length``: metres from wrist to middle fingertip where known.
    """

    def __init__(self, assets: Mapping[Side, HandAsset], hand_length: float | None):
        # MANO's left hand is not its right one mirrored: each side is fitted with its own model.
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
        """The hand of a detection with keypoints; None where the camera sees too few of them, or where no hand explains them.

        ``track`` goes with a ``stamp`` in seconds. ``initial`` are the network's estimates, by side.
        """
        state, last_stamp = self._states.get(track, (None, 0.0)) if track is not None else (None, 0.0)
        fitted = self._explained(detection, camera, state, 0.0 if state is None else stamp - last_stamp, initial)
        if fitted is None and state is not None:
            # What the last frame's hand cannot have become is another hand, or it was wrong.
            fitted = self._explained(detection, camera, None, 0.0, initial)
        if fitted is not None and track is not None:
            self._states[track] = fitted.state, stamp
        return fitted

    def _explained(
        self,
        detection: Detection,
        camera: Camera,
        start: FitState | None,
        dt: float,
        initial: Mapping[Side, ManoParameters],
    ) -> FitResult | None:
        """The fit; None where there are too few keypoints for one, or where it does not explain them."""
        try:
            fitted = fit_detection(
                self._fits, detection, camera, start=start, dt=dt, hand_length=self._hand_length, initial=initial
            )
        except ValueError:
            return None
        return fitted if reprojection_error(camera.project(fitted.joints), detection) < WORST_REPROJECTION else None
