"""Fuses the hands that several cameras of a recording have seen, as ``wildhands_fusion`` does it live.

One camera is the main one. Its images get the fused hands, in its own frame, so that everything that comes afterwards
is the same as for a single camera.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..fitting.hand_fusion import FusedHand, HandFusion, ObservedHand, observe
from ..geometry.boxes import hand_box
from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..geometry.trajectory import TrajectoryChain
from ..hand_model.asset import HandAsset
from ..hand_model.placement import HandPlacement
from ..hand_model.posing import HandPoser
from ..smoothing.hands import with_parameters
from ..types import HandEstimate, HandLength, Side
from .segments import AnnotatedFrame


@dataclass(frozen=True)
class RecordedCamera:
    """One camera of a recording."""

    name: str
    frames: Sequence[AnnotatedFrame]
    """Its estimates, by time."""
    poses: TrajectoryChain
    """Its pose in the common frame."""


class RecordingFusion:
    """Fuses the hands of recordings.

    Args:
        hand_model: Hand model of the estimates.
        tolerance: Largest difference in seconds between the stamps of images that are fused.
        lengths: Known lengths of the hands.
    """

    def __init__(
        self, hand_model: Mapping[Side, HandAsset], tolerance: float, lengths: Mapping[Side, HandLength] | None = None
    ):
        self._hand_model, self._tolerance, self._lengths = hand_model, tolerance, lengths
        self._placement, self._poser = HandPlacement(hand_model), HandPoser(hand_model)

    def __call__(self, main: RecordedCamera, others: Sequence[RecordedCamera]) -> list[AnnotatedFrame]:
        """Returns the frames of the main camera with the hands that all cameras have seen, in its own frame.

        A frame of which the camera's pose is unknown keeps its hands.
        """
        fusion = HandFusion(self._hand_model, self._lengths)
        stamps = {camera.name: np.array([frame.stamp for frame in camera.frames]) for camera in others}
        fused = []
        for frame in main.frames:
            found = main.poses.at(frame.stamp)
            if found is None:
                fused.append(frame)
                continue
            observed = {main.name: _observed(frame, found.pose)}
            for camera in others:
                nearest = _nearest(stamps[camera.name], frame.stamp, self._tolerance)
                of_other = None if nearest is None else camera.poses.at(camera.frames[nearest].stamp)
                if nearest is not None and of_other is not None:
                    observed[camera.name] = _observed(camera.frames[nearest], of_other.pose)
            to_camera, camera_of_image = found.pose.inverse(), frame.estimate.camera
            hands = [
                self._in_image(hand, to_camera, camera_of_image, hand.observed.get(main.name))
                for hand in fusion.update(frame.stamp, observed).hands
            ]
            fused.append(replace(frame, estimate=replace(frame.estimate, hands=tuple(hands))))
        return fused

    def _in_image(self, fused: FusedHand, to_camera: Pose, camera: Camera, own: ObservedHand | None) -> HandEstimate:
        """Returns a fused hand as a hand of the main camera, which may not have seen it itself."""
        hand = self._placement.hand(fused.estimate(self._poser.vertices), to_camera)
        if own is not None:
            hand = replace(hand, box=own.estimate.box, keypoints=own.estimate.keypoints)
        hand = with_parameters(hand, hand.mano, self._poser, camera)
        known = hand.joints_2d[np.isfinite(hand.joints_2d).all(axis=1)]
        if own is None and len(known):
            hand = replace(hand, box=hand_box(known, camera.width, camera.height))
        return hand


def _observed(frame: AnnotatedFrame, pose: Pose) -> list[ObservedHand]:
    hands = (observe(hand, frame.estimate.camera, pose, frame.stamp) for hand in frame.estimate.hands)
    return [hand for hand in hands if hand is not None]


def _nearest(stamps: np.ndarray, stamp: float, tolerance: float) -> int | None:
    """Returns the number of the nearest of (N,) ascending stamps; None if it is too far away."""
    if not len(stamps):
        return None
    after = int(np.searchsorted(stamps, stamp))
    near = [number for number in (after - 1, after) if 0 <= number < len(stamps)]
    best = min(near, key=lambda number: abs(float(stamps[number]) - stamp))
    return best if abs(stamps[best] - stamp) <= tolerance else None
