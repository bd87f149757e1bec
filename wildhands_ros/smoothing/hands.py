"""Hands filtered over time: each hand's state is filtered once, and everything about the hand follows from that by the hand layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..fitting.detection_fit import reprojection_error
from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..hand_model.asset import HandAsset, joints_linear
from ..hand_model.posing import HandPoser
from ..tracking.tracks import MAX_GAP
from ..types import Detection, FrameEstimate, HandEstimate, ManoParameters, Side
from .one_euro import PointFilter, RotationFilter, SmoothingConfig, low_pass_gain


class HandSmoother:
    """Smooths the hands of a stream by their tracks. A new hand, and one that comes back after ``MAX_GAP`` seconds, passes as it is.

    ``hand_model``: the hand of each side that the estimates are of.

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
        self._wrists = {side: [part[0] for part in joints_linear(asset)] for side, asset in hand_model.items()}
        self._config = config or SmoothingConfig()
        self._states: dict[str, _HandFilter] = {}
        self._has_camera_pose = False

    def reset(self) -> None:
        """Forgets all hands."""
        self._states = {}

    def __call__(self, frame: FrameEstimate, stamp: float, camera_pose: Pose | None = None) -> FrameEstimate:
        """The frame with its hands smoothed; their covariance, box and scores stay those of the image.

        Args:
            frame: of the stream, in order. Hands without a track pass as they are.
            stamp: its seconds. Time that does not go on, for a hand, starts that hand anew.
            camera_pose: in the frame in which is smoothed; None for the camera's own. Changing between the two starts anew.
        """
        tracked = [hand for hand in frame.hands if hand.track_id]
        if tracked and self._has_camera_pose != (camera_pose is not None):
            self._has_camera_pose = camera_pose is not None
            self.reset()
        pose = camera_pose or Pose.identity()
        manos = [self._smoothed(hand, stamp, pose) for hand in tracked]
        self._states = {id: state for id, state in self._states.items() if 0 <= stamp - state.stamp <= MAX_GAP}
        if not tracked:
            return frame
        smoothed = {
            hand.track_id: with_parameters(hand, mano, self._poser, frame.camera)
            for hand, mano in zip(tracked, manos, strict=True)
        }
        return replace(frame, hands=tuple(smoothed.get(hand.track_id, hand) for hand in frame.hands))

    def _smoothed(self, hand: HandEstimate, stamp: float, pose: Pose) -> ManoParameters:
        wrist, wrist_dirs = self._wrists[hand.side]
        local = Rotation.from_rotvec(np.vstack([hand.mano.global_orient, np.reshape(hand.mano.hand_pose, (15, 3))]))
        # Of the 16 rotations only the wrist's depends on the camera.
        camera = Rotation.from_matrix(np.concatenate([pose.rotation[None], np.broadcast_to(np.eye(3), (15, 3, 3))]))
        position = pose.rotation @ (hand.mano.transl + wrist + wrist_dirs @ hand.mano.betas) + pose.position
        state = self._states.get(hand.track_id)
        if state is None or state.side is not hand.side or not 0 < stamp - state.stamp <= MAX_GAP:
            self._states[hand.track_id] = _HandFilter(
                self._config, hand.side, stamp, position, camera * local, hand.mano.betas
            )
            return hand.mano
        position, rotations, betas = state.update(stamp, position, camera * local, hand.mano.betas)
        rotvecs = (camera.inv() * rotations).as_rotvec()
        transl = pose.rotation.T @ (position - pose.position) - wrist - wrist_dirs @ betas
        return ManoParameters(transl=transl, global_orient=rotvecs[0], hand_pose=rotvecs[1:].reshape(45), betas=betas)


class _HandFilter:
    """The filtered state of one hand: wrist position (3,), wrist and finger joint rotations (16), betas (B,)."""

    def __init__(
        self,
        config: SmoothingConfig,
        side: Side,
        stamp: float,
        position: np.ndarray,
        rotations: Rotation,
        betas: np.ndarray,
    ):
        self.side, self.stamp = side, stamp
        self._position = PointFilter(position[None], config.position)
        self._rotations = RotationFilter(rotations, config.rotation)
        self._betas, self._shape_cutoff = np.array(betas), config.shape

    def update(
        self, stamp: float, position: np.ndarray, rotations: Rotation, betas: np.ndarray
    ) -> tuple[np.ndarray, Rotation, np.ndarray]:
        dt, self.stamp = stamp - self.stamp, stamp
        self._betas = self._betas + low_pass_gain(self._shape_cutoff, dt) * (betas - self._betas)
        return self._position.update(position[None], dt)[0], self._rotations.update(rotations, dt), self._betas


def with_parameters(hand: HandEstimate, mano: ManoParameters, poser: HandPoser, camera: Camera) -> HandEstimate:
    """The hand with other parameters, and all that follows from them under the ``camera`` of its image."""
    posed = poser(mano, hand.side)
    joints_2d = camera.project(posed.joints)
    return replace(
        hand,
        mano=mano,
        vertices=posed.vertices,
        joints=posed.joints,
        joints_2d=joints_2d,
        wrist_position=posed.joints[0],
        wrist_rotation=posed.rotation,
        reprojection_error=reprojection_error(joints_2d, Detection(hand.box, keypoints=hand.keypoints)),
    )
