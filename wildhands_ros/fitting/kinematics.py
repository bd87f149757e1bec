"""Forward kinematics of the hand's 21 joints with derivatives, vectorised over the fingers.

The 16 kinematic joints are exactly those of the hand layer; the fingertips move rigidly with the last joint of their
finger. The unknowns are, in this order: rotation of the wrist (3, about the camera's axes), position of the wrist (3),
angles (45) and shape (B).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from ..hand_model.asset import HandAsset, joints_linear
from ..hand_model.frames import follow_chains
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from .anatomy import ARTICULATED_JOINTS, joint_axes

NUM_RIGID = 6
NUM_ANGLES = 45
_MANO_JOINTS = np.array(MANO_TO_MEDIAPIPE)[list(ARTICULATED_JOINTS)] - 1
"""Row of each articulated joint in ``ManoParameters.hand_pose``."""


@dataclass(frozen=True)
class HandPose:
    """Pose and shape of a right hand."""

    rotation: np.ndarray
    """(3, 3) rotation of the rest frame into the camera frame."""
    position: np.ndarray
    """(3,) wrist joint in metres."""
    angles: np.ndarray
    """(15, 3) joint angles in radians, see ``anatomy``."""
    betas: np.ndarray
    """(B,) shape coefficients."""

    def moved(self, step: np.ndarray) -> HandPose:
        """Returns the pose after a step of the unknowns."""
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ self.rotation
        angles = self.angles + step[NUM_RIGID : NUM_RIGID + NUM_ANGLES].reshape(15, 3)
        return HandPose(rotation, self.position + step[3:6], angles, self.betas + step[NUM_RIGID + NUM_ANGLES :])

    def with_rigid(self, rotation: np.ndarray, position: np.ndarray) -> HandPose:
        """Returns the pose with another rotation and position of the wrist."""
        return replace(self, rotation=rotation, position=position)


class FingerChains(NamedTuple):
    """Frames of the five fingers of a posed hand, thumb first."""

    frames: np.ndarray
    """(5, 4, 3, 3) rotations of the wrist and the three joints of each finger."""
    positions: np.ndarray
    """(5, 4, 3) positions of the joints and the fingertip of each finger."""
    axes: np.ndarray
    """(5, 3, 3, 3) axes of the three angles of each joint: finger, joint, angle, xyz."""
    shape_dirs: np.ndarray
    """(5, 4, 3, B) derivatives of the positions by the shape."""


class HandKinematics:
    """Kinematics of one right-hand model."""

    def __init__(self, asset: HandAsset):
        template, dirs = joints_linear(asset)
        order = list(MANO_TO_MEDIAPIPE)
        self.rest_joints = template[order]
        self.rest_dirs = dirs[order]
        self.num_betas = dirs.shape[-1]
        self.num_unknowns = NUM_RIGID + NUM_ANGLES + self.num_betas
        # Five chains of four joints in MediaPipe order; offsets are from the previous joint, for the first from the
        # wrist.
        self._offsets, self._offset_dirs = _chain_offsets(self.rest_joints), _chain_offsets(self.rest_dirs)
        self._axes = joint_axes(self.rest_joints).reshape(5, 3, 3, 3)

    def wrist_at_rest(self, betas: np.ndarray) -> np.ndarray:
        """Returns the (3,) wrist joint of the rest pose."""
        return self.rest_joints[0] + self.rest_dirs[0] @ betas

    def length(self, betas: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the length from the wrist to the middle fingertip of the flat hand in metres, and its (B,)
        gradient."""
        reach = self.rest_joints[12] - self.rest_joints[0]
        reach_dirs = self.rest_dirs[12] - self.rest_dirs[0]
        reach = reach + reach_dirs @ betas
        length = float(np.linalg.norm(reach))
        return length, reach @ reach_dirs / length

    def joints(self, pose: HandPose) -> np.ndarray:
        """Returns the (21, 3) joints in MediaPipe order."""
        _, chain, _ = self._chains(pose)
        return np.concatenate([pose.position[None], chain.reshape(20, 3)])

    def joints_with_jacobian(self, pose: HandPose) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (21, 3) joints in MediaPipe order and their (21, 3, unknowns) derivatives."""
        frames, chain, axes, shape_dirs = self.chains(pose)
        joints = np.concatenate([pose.position[None], chain.reshape(20, 3)])
        result = np.zeros((21, 3, self.num_unknowns))
        result[:, :, :3] = _cross_columns(np.eye(3), (joints - pose.position)[:, None, :])
        result[:, :, 3:6] = np.eye(3)
        # A rotation of joint l about axis a moves the joints m > l of its finger by a x (X_m - X_l).
        angles = np.zeros((5, 4, 3, 5, 3, 3))
        own = np.einsum("fjxflk->fjxlk", angles)  # a view: the effect of each finger's joints on itself
        for level in range(3):
            arms = chain[:, level + 1 :] - chain[:, level, None]
            own[:, level + 1 :, :, level] = _cross_columns(axes[:, None, level], arms[:, :, None])
        result[1:, :, NUM_RIGID : NUM_RIGID + NUM_ANGLES] = angles.reshape(20, 3, NUM_ANGLES)
        result[1:, :, NUM_RIGID + NUM_ANGLES :] = shape_dirs.reshape(20, 3, -1)
        return joints, result

    def chains(self, pose: HandPose) -> FingerChains:
        """Returns frames, positions and derivatives of the fingers."""
        frames, chain, middle_axis = self._chains(pose)
        axes = np.empty((5, 3, 3, 3))
        axes[:, :, 0] = (frames[:, :3] @ self._axes[..., 1:2])[..., 0]
        axes[:, :, 1] = (frames[:, :3] @ (self._axes @ middle_axis[..., None]))[..., 0]
        axes[:, :, 2] = (frames[:, 1:] @ self._axes[..., 0:1])[..., 0]
        return FingerChains(frames, chain, axes, np.cumsum(frames @ self._offset_dirs, axis=1))

    def hand_pose(self, angles: np.ndarray) -> np.ndarray:
        """Converts (15, 3) angles to (45,) axis-angle vectors in MANO order."""
        local, _ = self._local_rotations(angles.reshape(5, 3, 3))
        pose = np.empty((15, 3))
        pose[_MANO_JOINTS] = Rotation.from_matrix(local.reshape(15, 3, 3)).as_rotvec()
        return pose.reshape(45)

    def angles(self, hand_pose: np.ndarray) -> np.ndarray:
        """Converts (45,) axis-angle vectors in MANO order to (15, 3) angles."""
        local = Rotation.from_rotvec(np.asarray(hand_pose, dtype=np.float64).reshape(15, 3)[_MANO_JOINTS]).as_matrix()
        axes = self._axes.reshape(15, 3, 3)
        turn = np.swapaxes(axes, 1, 2) @ local @ axes
        flexion = np.arctan2(-turn[:, 2, 0], turn[:, 0, 0])
        abduction = np.arcsin(np.clip(turn[:, 1, 0], -1, 1))
        twist = np.arctan2(-turn[:, 1, 2], turn[:, 1, 1])
        return np.stack([flexion, abduction, twist], axis=1)

    def _chains(self, pose: HandPose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns frames and positions of the chains (see ``follow_chains``), and the axes of ``_local_rotations``."""
        local, middle_axis = self._local_rotations(pose.angles.reshape(5, 3, 3))
        offsets = self._offsets + self._offset_dirs @ pose.betas
        frames, chain = follow_chains(pose.rotation, pose.position, local, offsets)
        return frames, chain, middle_axis

    def _local_rotations(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Converts (5, 3, 3) angles to rotations.

        Flexion comes first and twist last (about y, z and x of the joint's axes), so that no joint bends through the
        singularity.

        Returns:
            (5, 3, 3, 3) rotations in the rest frame, and (5, 3, 3) abduction axes in the axes of each joint.
        """
        sine, cosine = np.sin(angles), np.cos(angles)
        sf, sa, st = sine[..., 0], sine[..., 1], sine[..., 2]
        cf, ca, ct = cosine[..., 0], cosine[..., 1], cosine[..., 2]
        turn = np.empty((5, 3, 3, 3))
        turn[..., 0, 0], turn[..., 1, 0], turn[..., 2, 0] = cf * ca, sa, -sf * ca
        turn[..., 0, 1], turn[..., 1, 1], turn[..., 2, 1] = sf * st - cf * sa * ct, ca * ct, sf * sa * ct + cf * st
        turn[..., 0, 2], turn[..., 1, 2], turn[..., 2, 2] = cf * sa * st + sf * ct, -ca * st, cf * ct - sf * sa * st
        middle_axis = np.stack([sf, np.zeros_like(sf), cf], axis=-1)
        return self._axes @ turn @ np.swapaxes(self._axes, -1, -2), middle_axis


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (3,) rotation vector of ``b @ a.T`` for rotations that differ by less than half a turn.

    It takes a tenth of the time of SciPy, which checks its input.
    """
    r = b @ a.T
    sine_axis = 0.5 * np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    sine, cosine = np.sqrt(sine_axis @ sine_axis), 0.5 * (np.trace(r) - 1)
    return sine_axis * (np.arctan2(sine, cosine) / sine if sine > 1e-9 else 1.0)


def _chain_offsets(joints: np.ndarray) -> np.ndarray:
    """Converts (21, ...) joints to (5, 4, ...) differences along each finger."""
    chain = joints[1:].reshape(5, 4, *joints.shape[1:])
    return np.diff(chain, axis=1, prepend=np.broadcast_to(joints[0], (5, 1, *joints.shape[1:])))


def _cross_columns(axes: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Returns the (..., 3, k) cross products of (..., k, 3) axes with (..., 1, 3) arms, one column per axis."""
    ax, ay, az = axes[..., 0], axes[..., 1], axes[..., 2]
    x, y, z = arms[..., 0], arms[..., 1], arms[..., 2]
    result = np.empty((*np.broadcast_shapes(ax.shape, x.shape)[:-1], 3, ax.shape[-1]))
    result[..., 0, :] = ay * z - az * y
    result[..., 1, :] = az * x - ax * z
    result[..., 2, :] = ax * y - ay * x
    return result
