"""What annotation makes of the estimates of a whole recording, when past and future are known.

Tracks are joined over gaps and get one side each, short gaps are interpolated, hands are smoothed in the fixed frame
where the camera's pose is known, and every estimate is judged (see ``recording.quality``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from ..config import QualityThresholds
from ..fitting.fitted_hand import FittedHand, resized
from ..fitting.hand_length import HandLengths, exact_lengths
from ..fitting.kinematics import HandKinematics
from ..fitting.stream_fit import DetectedHand, StreamFit
from ..fitting.uncertainty import calibrated
from ..geometry.boxes import hand_box
from ..geometry.trajectory import TrajectoryChain
from ..hand_model.asset import HandAsset
from ..hand_model.placement import HandPlacement
from ..hand_model.posing import HandPoser
from ..smoothing.hands import with_parameters
from ..smoothing.offline import smooth_track
from ..types import (
    DepthStatus,
    Detection,
    Doubt,
    EstimateSource,
    HandEstimate,
    HandQuality,
    HandState,
    ManoParameters,
    Side,
)
from .quality import TrackJudge
from .reliability import is_measured
from .segments import AnnotatedFrame
from .tracks import RecordedTrack, are_comparable, hands_by_frame, pose_of, recorded_tracks, renamed


@dataclass(frozen=True)
class RefinementOptions:
    """What to do with the estimates of a recording."""

    smooth: bool = False
    """Whether to smooth the hands over time, with past and future frames."""
    max_gap: float = 0.4
    """Seconds without a hand that are interpolated; longer gaps are left empty. 0 interpolates nothing."""
    thresholds: QualityThresholds = field(default_factory=QualityThresholds)
    """When an estimate is doubted."""


class Refinement:
    """Refines the estimates of recordings.

    Args:
        hand_model: Hand model of the estimates.
        options: What to do.
        hand_length: Known length of the hands in metres; None if unknown.
    """

    def __init__(
        self, hand_model: Mapping[Side, HandAsset], options: RefinementOptions, hand_length: float | None = None
    ):
        self._options = options
        self._poser = HandPoser(hand_model)
        self._placement = HandPlacement(hand_model)
        self._kinematics = {side: HandKinematics(asset.right_handed()) for side, asset in hand_model.items()}
        self._fit = StreamFit(hand_model, HandLengths(exact_lengths(hand_length or 0.0)))
        self._judge = TrackJudge(hand_model, options.thresholds)
        self._faces = {side: asset.faces for side, asset in hand_model.items()}

    def __call__(
        self, frames: Sequence[AnnotatedFrame], poses: TrajectoryChain | None = None
    ) -> Iterator[AnnotatedFrame]:
        """Refines all frames of a recording.

        Args:
            frames: The estimates, in order, with tracks joined across segments.
            poses: Pose of the camera in a fixed frame, by the stamps of the images or by their numbers; None if
                unknown.

        Yields:
            The frames, whose hands have their quality and can be posed.
        """
        if poses is not None:
            frames = [
                replace(frame, camera_pose=poses.at(frame.index if poses.by_image else frame.stamp)) for frame in frames
            ]
        tracks = [self._with_one_side(track, frames) for track in recorded_tracks(frames)]
        # The tracks have the hands now. A long recording has a gigabyte of those that are replaced below.
        frames = [replace(frame, estimate=replace(frame.estimate, hands=())) for frame in frames]
        for track in tracks:
            doubts = self._judge.doubts(track, frames)
            for number, doubt in doubts.items():
                quality = HandQuality(HandState.SEEN, doubt, usable=False)
                track.hands[number] = replace(track.hands[number], quality=quality)
            self._interpolate(track, frames)
            if self._options.smooth:
                self._smooth(track, frames)
        hands = hands_by_frame(renamed([track for track in tracks if track.hands]), len(frames))
        del tracks
        for frame, of_frame in zip(frames, hands, strict=True):
            posed = tuple(replace(hand, pose_mesh=self._poser.vertices) for hand in of_frame)
            estimate = replace(frame.estimate, hands=posed, faces=self._faces)
            yield replace(frame, estimate=self._judge.judged(estimate))

    def _with_one_side(self, track: RecordedTrack, frames: Sequence[AnnotatedFrame]) -> RecordedTrack:
        """Fits the hands of the less likely side again, as hands of the other; those that do not fit are left out."""
        side = track.side
        changed = RecordedTrack(side=side)
        for number, hand in track.hands.items():
            found = hand if hand.side is side else self._fitted_as(side, hand, frames[number])
            if found is not None:
                changed.hands[number] = found
                changed.wrists[number] = pose_of(frames[number]).apply(found.joints[0])
        return changed

    def _fitted_as(self, side: Side, hand: HandEstimate, frame: AnnotatedFrame) -> HandEstimate | None:
        detection = Detection(hand.box, side, hand.score, 1.0, hand.keypoints)
        (fit,) = self._fit.fit([DetectedHand(detection, None, {})], frame.estimate.camera, None)
        if fit is None:
            return None
        fitted: FittedHand = calibrated(fit)
        changed = replace(
            hand,
            side=side,
            side_score=1 - hand.side_score,
            source=EstimateSource.KEYPOINT_FIT,
            joints_stddev=fitted.joints_stddev,
            wrist_covariance=fitted.wrist_covariance,
            grasp_probabilities=None,
        )
        if is_measured(hand):
            # The distance that was measured holds for a hand of either side.
            kinematics = self._kinematics[side]
            ratio = np.linalg.norm(hand.joints[0]) / np.linalg.norm(fitted.wrist_position)
            length = float(ratio * kinematics.length(fitted.mano.betas)[0])
            fitted = resized(kinematics, fitted, side, np.zeros(3), length)
            changed = replace(changed, joints_stddev=hand.joints_stddev, wrist_covariance=hand.wrist_covariance)
        return with_parameters(changed, fitted.mano, self._poser, frame.estimate.camera)

    def _interpolate(self, track: RecordedTrack, frames: Sequence[AnnotatedFrame]) -> None:
        """Adds hands to the frames of short gaps, along the great arcs of the rotations and a straight line."""
        for before, after in pairwise(list(track.hands)):
            start, end = frames[before], frames[after]
            if after == before + 1 or end.stamp - start.stamp > self._options.max_gap:
                continue
            if not are_comparable(start, end):
                continue
            first, last = track.hands[before], track.hands[after]
            ends = [
                self._placement.moved(hand.mano, hand.side, pose_of(frame))
                for hand, frame in ((first, start), (last, end))
            ]
            for number in range(before + 1, after):
                frame = frames[number]
                if not are_comparable(start, frame):
                    continue
                share = (frame.stamp - start.stamp) / max(end.stamp - start.stamp, 1e-6)
                mano = self._between(ends[0], ends[1], first.side, share)
                nearest = first if share < 0.5 else last
                track.hands[number] = self._interpolated(nearest, mano, frame)
                track.wrists[number] = self._placement.wrist(mano, first.side)
        ordered = sorted(track.hands)
        track.hands = {number: track.hands[number] for number in ordered}
        track.wrists = {number: track.wrists[number] for number in ordered}

    def _between(self, first: ManoParameters, last: ManoParameters, side: Side, share: float) -> ManoParameters:
        start, end = (
            Rotation.from_rotvec(np.vstack([mano.global_orient, np.reshape(mano.hand_pose, (15, 3))]))
            for mano in (first, last)
        )
        rotvecs = (start * Rotation.from_rotvec(share * (start.inv() * end).as_rotvec())).as_rotvec()
        betas = (1 - share) * first.betas + share * last.betas
        wrist = (1 - share) * self._placement.wrist(first, side) + share * self._placement.wrist(last, side)
        mano = ManoParameters(first.transl, rotvecs[0], rotvecs[1:].ravel(), betas)
        return self._placement.with_wrist(mano, side, wrist)

    def _interpolated(self, nearest: HandEstimate, mano: ManoParameters, frame: AnnotatedFrame) -> HandEstimate:
        """Returns the hand of a frame in which it was not found; ``mano`` is in the fixed frame."""
        camera = frame.estimate.camera
        in_camera = self._placement.moved(mano, nearest.side, pose_of(frame).inverse())
        quality = nearest.quality
        hand = replace(
            nearest,
            score=0.0,
            depth=DepthStatus.NONE,
            views=(),
            keypoints=None,
            seen=None,
            object_contact=None,
            joints_stddev=None,
            wrist_covariance=None,
            quality=HandQuality(HandState.INTERPOLATED, quality.doubts if quality else Doubt.NONE, usable=False),
        )
        hand = with_parameters(hand, in_camera, self._poser, camera)
        known = hand.joints_2d[np.isfinite(hand.joints_2d).all(axis=1)]
        return replace(hand, box=hand_box(known, camera.width, camera.height)) if len(known) else hand

    def _smooth(self, track: RecordedTrack, frames: Sequence[AnnotatedFrame]) -> None:
        """Smooths a track in the fixed frame, each run of comparable frames by itself."""
        numbers = list(track.hands)
        if not numbers:
            return
        starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(numbers)) if not are_comparable(frames[a], frames[b]))]
        for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
            run = numbers[start:stop]
            manos = [
                self._placement.moved(track.hands[number].mano, track.hands[number].side, pose_of(frames[number]))
                for number in run
            ]
            smoothed = smooth_track(np.array([frames[number].stamp for number in run]), manos)
            for number, mano in zip(run, smoothed, strict=True):
                hand, frame = track.hands[number], frames[number]
                in_camera = self._placement.moved(mano, hand.side, pose_of(frame).inverse())
                track.hands[number] = with_parameters(hand, in_camera, self._poser, frame.estimate.camera)
