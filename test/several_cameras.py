"""A hand as several calibrated cameras see it, with the errors of keypoints and distances that are usual."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from wildhands_ros.datasets.labels import LabelledHand
from wildhands_ros.fitting.anatomy import LIMITS
from wildhands_ros.fitting.hand_fusion import ObservedHand, observe
from wildhands_ros.fitting.keypoint_marks import marks_matrix
from wildhands_ros.fitting.kinematics import HandKinematics, HandPose
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.types import EstimateSource, HandEstimate, ManoParameters, Side

CAMERA = Camera.from_fov(1280, 720, float(np.radians(70)))
KINEMATICS = HandKinematics(open_hand(Side.RIGHT))
CENTRE = np.array([0.0, 0.0, 0.6])
"""Where hands are, in the frame of the first camera."""


def camera_at(degrees: float, distance: float = 0.6) -> Pose:
    """Returns the pose of a camera that looks at ``CENTRE`` from the side."""
    rotation = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    return Pose(rotation, CENTRE - distance * rotation[:, 2])


POSES = {"left": camera_at(0), "right": camera_at(-80), "top": camera_at(50, 0.7)}
"""Poses of three cameras in the frame of the first one."""


class TrueHand:
    """A random open hand near ``CENTRE``."""

    def __init__(self, seed: int, side: Side = Side.RIGHT, at: np.ndarray = CENTRE, size: float = 1.0):
        rng = np.random.default_rng(seed)
        self.side = side
        self.mirror = np.array([-1.0 if side is Side.LEFT else 1.0, 1, 1])
        facing = Rotation.from_euler("xyz", [np.pi / 2, 0, 0]) * Rotation.from_rotvec(rng.normal(0, 0.3, 3))
        angles = np.clip(LIMITS.mean + 0.3 * LIMITS.stddev * rng.normal(size=(15, 3)), LIMITS.low, LIMITS.high)
        betas = np.concatenate([[size], np.zeros(9)])
        self.pose = HandPose(facing.as_matrix(), at * self.mirror, angles, betas)
        self.joints = KINEMATICS.joints(self.pose) * self.mirror
        self.length = float(KINEMATICS.length(betas)[0])

    def mano(self) -> ManoParameters:
        turn = np.array([1.0, self.mirror[0], self.mirror[0]])
        return ManoParameters(
            transl=(self.pose.position - KINEMATICS.wrist_at_rest(self.pose.betas)) * self.mirror,
            global_orient=Rotation.from_matrix(self.pose.rotation).as_rotvec() * turn,
            hand_pose=(KINEMATICS.hand_pose(self.pose.angles).reshape(15, 3) * turn).reshape(45),
            betas=self.pose.betas,
        )

    def seen_by(
        self, pose: Pose, rng: np.random.Generator, noise: float = 3.0, side: Side | None = None, id: str = "hand_1"
    ) -> HandEstimate:
        """Returns the estimate of a camera, whose distance is wrong by about 8 %.

        Args:
            pose: Pose of the camera.
            rng: Source of random numbers.
            noise: Standard deviation of the keypoints in pixels.
            side: Side as which the camera sees the hand, without being sure if it is wrong.
            id: Name of the track.
        """
        keypoints = self.joints.copy()
        # What networks mark lies a little nearer to the middle of the hand.
        for tip in (4, 8, 12, 16, 20):
            keypoints[tip] += 0.2 * (self.joints[tip - 1] - self.joints[tip])
        to_camera = pose.inverse()
        joints = to_camera.apply(self.joints)
        scale = np.exp(rng.normal(0, 0.08))
        rotation = to_camera.rotation @ Rotation.from_rotvec(self.mano().global_orient).as_matrix()
        rotation = rotation @ Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()
        mano = replace(
            self.mano(),
            global_orient=Rotation.from_matrix(rotation).as_rotvec(),
            transl=joints[0] * scale - (self.joints[0] - self.mano().transl),
        )
        return HandEstimate(
            side=side or self.side,
            score=0.9,
            side_score=0.95 if side in (None, self.side) else 0.6,
            box=np.array([500.0, 300.0, 700.0, 500.0]),
            joints=joints * scale,
            joints_2d=CAMERA.project(joints),
            wrist_position=joints[0] * scale,
            wrist_rotation=rotation,
            mano=mano,
            pose_mesh=lambda *_: np.zeros((778, 3)),
            source=EstimateSource.NETWORK_AND_FIT,
            joints_stddev=np.full((21, 3), 0.05),
            wrist_covariance=np.diag([0.002, 0.002, 0.004, 0.05, 0.05, 0.05]),
            keypoints=CAMERA.project(to_camera.apply(keypoints)) + rng.normal(0, noise, (21, 2)),
            track_id=id,
        )


def estimate_of_label(label: LabelledHand, camera: Camera) -> HandEstimate:
    """Returns a hand that is seen where it is, but 10 % too far away."""
    assert label.joints is not None and label.side is not None and isinstance(label.mano, ManoParameters)
    keypoints = camera.project(marks_matrix() @ label.joints)
    joints = 1.1 * label.joints
    return HandEstimate(
        side=label.side,
        score=0.9,
        side_score=0.95,
        box=label.box,
        joints=joints,
        joints_2d=camera.project(label.joints),
        wrist_position=joints[0],
        wrist_rotation=Rotation.from_rotvec(label.mano.global_orient).as_matrix(),
        mano=replace(label.mano, transl=label.mano.transl + 0.1 * label.joints[0]),
        pose_mesh=lambda *_: np.zeros((778, 3)),
        source=EstimateSource.NETWORK_AND_FIT,
        joints_stddev=np.full((21, 3), 0.05),
        wrist_covariance=np.diag([0.002, 0.002, 0.004, 0.05, 0.05, 0.05]),
        keypoints=keypoints,
    )


def observed(
    hand: TrueHand, cameras: str, seed: int = 0, stamp: float = 0.0, poses: dict[str, Pose] = POSES, **options
) -> dict[str, list[ObservedHand]]:
    """Returns a hand as cameras see it, whose poses are taken to be ``poses``."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in cameras.split():
        estimate = observe(hand.seen_by(POSES[name], rng, **options), CAMERA, poses[name], stamp)
        assert estimate is not None
        found[name] = [estimate]
    return found
