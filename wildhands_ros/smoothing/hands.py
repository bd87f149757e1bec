"""Smooths hands over time.

The parameters of each hand are filtered; joints and mesh are then computed from the smoothed parameters, so that they
stay consistent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..config import SmoothingConfig
from ..fitting.detection_fit import reprojection_error
from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..geometry.so3 import matrices_from_vectors, vectors_from_matrices
from ..hand_model.asset import HandAsset, joints_linear
from ..hand_model.posing import HandPoser
from ..tracking.tracks import MAX_GAP
from ..types import Detection, FrameEstimate, HandEstimate, ManoParameters, Side
from .one_euro import PointFilter, RotationFilter, low_pass_gain


class TrackedHand(NamedTuple):
    """Parameters of one hand of a stream."""

    track_id: str
    side: Side
    mano: ManoParameters


class ParameterSmoother:
    """Smooths the parameters of the hands of a stream, each track by itself.

    The first parameters of a track pass unchanged, and so do those of a hand that returns after ``MAX_GAP`` seconds.

    Args:
        hand_model: Hand model of each side to which the parameters belong.
        config: How much to smooth.
    """

    def __init__(self, hand_model: Mapping[Side, HandAsset], config: SmoothingConfig):
        self._wrists = {side: _wrist(asset) for side, asset in hand_model.items()}
        self._config = config
        self._filters: dict[str, _HandFilter] = {}
        self._has_camera_pose = False

    def reset(self) -> None:
        """Forgets all hands."""
        self._filters = {}

    def __call__(
        self, hands: Sequence[TrackedHand], stamp: float, camera_pose: Pose | None = None
    ) -> list[ManoParameters]:
        """Returns the smoothed parameters of the hands of the next image.

        Args:
            hands: Hands of one image.
            stamp: Time of the image in seconds. A hand whose time does not advance starts again.
            camera_pose: Pose of the camera in a fixed frame, in which the hands are then smoothed; None to smooth in
                the camera frame. A change between the two restarts all hands.
        """
        if hands and self._has_camera_pose != (camera_pose is not None):
            self._has_camera_pose = camera_pose is not None
            self.reset()
        pose = camera_pose or Pose.identity()
        smoothed = [self._smoothed(hand, stamp, pose) for hand in hands]
        self._filters = {id: each for id, each in self._filters.items() if 0 <= stamp - each.stamp <= MAX_GAP}
        return smoothed

    def _smoothed(self, hand: TrackedHand, stamp: float, pose: Pose) -> ManoParameters:
        wrist, wrist_dirs = self._wrists[hand.side]
        mano = hand.mano
        rotations = matrices_from_vectors(np.vstack([mano.global_orient, np.reshape(mano.hand_pose, (15, 3))]))
        # Only the first of the 16 rotations, the wrist's, depends on the camera.
        rotations[0] = pose.rotation @ rotations[0]
        position = pose.rotation @ (mano.transl + wrist + wrist_dirs @ mano.betas) + pose.position
        state = self._filters.get(hand.track_id)
        if state is None or state.side is not hand.side or not 0 < stamp - state.stamp <= MAX_GAP:
            self._filters[hand.track_id] = _HandFilter(self._config, hand.side, stamp, position, rotations, mano.betas)
            return mano
        position, rotations, betas = state.update(stamp, position, rotations, mano.betas)
        rotvecs = vectors_from_matrices(np.concatenate([(pose.rotation.T @ rotations[0])[None], rotations[1:]]))
        transl = pose.rotation.T @ (position - pose.position) - wrist - wrist_dirs @ betas
        return ManoParameters(transl=transl, global_orient=rotvecs[0], hand_pose=rotvecs[1:].reshape(45), betas=betas)


class HandSmoother:
    """Smooths the hands of estimates that were made without smoothing, such as recorded ones.

    To smooth while estimating, set ``EstimatorConfig.smoothing`` instead.

    Args:
        hand_model: Hand model of each side, as ``Estimator.hand_model``.
        config: How much to smooth.

    Example:
        >>> from wildhands_ros import Estimator, HandSmoother, load_calibration, open_source
        >>> estimator, calibration = Estimator(), load_calibration("camera.yaml")
        >>> smoother = HandSmoother(estimator.hand_model)
        >>> for image in open_source("video.mp4"):
        ...     frame = estimator(image.image, calibration.for_image(image.image), image.stamp)
        ...     smoothed = smoother(frame, image.stamp)
        ...     if image.stamp > 0.1:
        ...         break
        >>> len(smoothed.hands)
        2
    """

    def __init__(self, hand_model: Mapping[Side, HandAsset], config: SmoothingConfig | None = None):
        self._poser = HandPoser(hand_model)
        self._smoother = ParameterSmoother(hand_model, config or SmoothingConfig())

    def reset(self) -> None:
        """Forgets all hands."""
        self._smoother.reset()

    def __call__(self, frame: FrameEstimate, stamp: float, camera_pose: Pose | None = None) -> FrameEstimate:
        """Smooths the hands of the next frame of a stream.

        Args:
            frame: Estimate of the next image. Hands without a track pass unchanged.
            stamp: Time of the image in seconds. A hand whose time does not advance starts again.
            camera_pose: Pose of the camera in a fixed frame, in which the hands are then smoothed; None to smooth in
                the camera frame. A change between the two restarts all hands.

        Returns:
            The frame with smoothed hands. Their covariances, boxes and scores are unchanged.
        """
        tracked = [hand for hand in frame.hands if hand.track_id]
        manos = self._smoother([TrackedHand(h.track_id, h.side, h.mano) for h in tracked], stamp, camera_pose)
        smoothed = {
            hand.track_id: with_parameters(hand, mano, self._poser, frame.camera)
            for hand, mano in zip(tracked, manos, strict=True)
        }
        return replace(frame, hands=tuple(smoothed.get(hand.track_id, hand) for hand in frame.hands))


class _HandFilter:
    """Filtered state of one hand: wrist position (3,), rotations of the wrist and the finger joints (16), betas
    (B,)."""

    def __init__(
        self,
        config: SmoothingConfig,
        side: Side,
        stamp: float,
        position: np.ndarray,
        rotations: np.ndarray,
        betas: np.ndarray,
    ):
        self.side, self.stamp = side, stamp
        self._position = PointFilter(position[None], config.position)
        self._rotations = RotationFilter(rotations, config.rotation)
        self._betas, self._shape_cutoff = np.array(betas), config.shape

    def update(
        self, stamp: float, position: np.ndarray, rotations: np.ndarray, betas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dt, self.stamp = stamp - self.stamp, stamp
        self._betas = self._betas + low_pass_gain(self._shape_cutoff, dt) * (betas - self._betas)
        return self._position.update(position[None], dt)[0], self._rotations.update(rotations, dt), self._betas


def with_parameters(hand: HandEstimate, mano: ManoParameters, poser: HandPoser, camera: Camera) -> HandEstimate:
    """Returns the hand with other parameters and everything that follows from them.

    Args:
        hand: Hand to change.
        mano: New parameters.
        poser: Hand model to which they belong.
        camera: Camera of the hand's image.
    """
    posed = poser.joints(mano, hand.side)
    joints_2d = camera.project(posed.joints)
    return replace(
        hand,
        mano=mano,
        pose_mesh=poser.vertices,
        joints=posed.joints,
        joints_2d=joints_2d,
        wrist_position=posed.joints[0],
        wrist_rotation=posed.rotation,
        reprojection_error=reprojection_error(joints_2d, Detection(hand.box, keypoints=hand.keypoints)),
    )


def _wrist(asset: HandAsset) -> tuple[np.ndarray, np.ndarray]:
    """Returns the wrist at rest as a linear function of the betas: its (3,) template and (3, B) directions."""
    template, dirs = joints_linear(asset)
    return template[0], dirs[0]
