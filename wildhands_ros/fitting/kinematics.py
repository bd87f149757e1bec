"""Forward kinematics of the hand's 21 joints with derivatives, vectorised over hands and fingers.

The 16 kinematic joints are exactly those of the hand layer; the fingertips move rigidly with the last joint of their
finger. The unknowns are, in this order: rotation of the wrist (3, about the camera's axes), position of the wrist (3),
angles (45) and shape (B). Arrays of several hands have further axes in front, written as "...".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..geometry.so3 import matrices_from_vectors, vectors_from_matrices
from ..hand_model.asset import HandAsset, joints_linear
from ..hand_model.frames import follow_chains
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from .anatomy import ARTICULATED_JOINTS, joint_axes

NUM_RIGID = 6
NUM_ANGLES = 45
_MANO_JOINTS = np.array(MANO_TO_MEDIAPIPE)[list(ARTICULATED_JOINTS)] - 1
"""Row of each articulated joint in ``ManoParameters.hand_pose``."""


_SKEW = np.zeros((3, 9))
"""``(arms @ _SKEW).reshape(..., 3, 3) @ axes`` are the cross products of the columns of ``axes`` with ``arms``."""
_SKEW[[2, 0, 1], [1, 5, 6]] = 1
_SKEW[[1, 2, 0], [2, 3, 7]] = -1
_BEYOND = np.tri(4, 3, -1)[:, :, None]
"""(4, 3, 1) whether a joint of a chain lies beyond another one, whose rotation moves it."""


@dataclass(frozen=True)
class HandPose:
    """Pose and shape of a right hand, or of several."""

    rotation: np.ndarray
    """(..., 3, 3) rotation of the rest frame into the camera frame."""
    position: np.ndarray
    """(..., 3) wrist joint in metres."""
    angles: np.ndarray
    """(..., 15, 3) joint angles in radians, see ``anatomy``."""
    betas: np.ndarray
    """(..., B) shape coefficients."""

    def moved(self, step: np.ndarray) -> HandPose:
        """Returns the pose after a step of the unknowns."""
        return HandPose(
            matrices_from_vectors(step[..., :3]) @ self.rotation,
            self.position + step[..., 3:6],
            self.angles + step[..., NUM_RIGID : NUM_RIGID + NUM_ANGLES].reshape(self.angles.shape),
            self.betas + step[..., NUM_RIGID + NUM_ANGLES :],
        )

    def with_rigid(self, rotation: np.ndarray, position: np.ndarray) -> HandPose:
        """Returns the pose with another rotation and position of the wrist."""
        return replace(self, rotation=rotation, position=position)


class FingerChains(NamedTuple):
    """Frames of the five fingers of a posed hand, thumb first."""

    frames: np.ndarray
    """(..., 5, 4, 3, 3) rotations of the wrist and the three joints of each finger."""
    positions: np.ndarray
    """(..., 5, 4, 3) positions of the joints and the fingertip of each finger."""
    axes: np.ndarray
    """(..., 5, 3, 3, 3) axes of the three angles of each joint, as the columns of a matrix."""
    shape_dirs: np.ndarray
    """(..., 5, 4, 3, B) derivatives of the positions by the shape."""


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
        self._offset_rows = self._offset_dirs.reshape(60, -1).T
        self._axes = joint_axes(self.rest_joints)
        self._axes_inverse = np.ascontiguousarray(np.swapaxes(self._axes, -1, -2))

    def constants(self) -> tuple[np.ndarray, ...]:
        """Returns what ``native/fit_solver.c`` computes with: (15, 3, 3) axes, (5, 4, 3) offsets, the (3,) reach from
        the wrist to the middle fingertip, and the derivatives of the last two by the shape."""
        reach, reach_dirs = self.rest_joints[12] - self.rest_joints[0], self.rest_dirs[12] - self.rest_dirs[0]
        return self._axes, self._offsets, reach, self._offset_dirs, reach_dirs

    def wrist_at_rest(self, betas: np.ndarray) -> np.ndarray:
        """Returns the (..., 3) wrist joint of the rest pose."""
        return self.rest_joints[0] + betas @ self.rest_dirs[0].T

    def length(self, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (...,) length from the wrist to the middle fingertip of the flat hand in metres, and its (..., B)
        gradient."""
        reach_dirs = self.rest_dirs[12] - self.rest_dirs[0]
        reach = self.rest_joints[12] - self.rest_joints[0] + betas @ reach_dirs.T
        length = np.sqrt((reach * reach).sum(-1))
        return length, reach @ reach_dirs / length[..., None]

    def joints(self, pose: HandPose) -> np.ndarray:
        """Returns the (..., 21, 3) joints in MediaPipe order."""
        _, chain, _ = self._chains(pose)
        return _with_wrist(pose, chain)

    def joints_with_jacobian(self, pose: HandPose) -> tuple[np.ndarray, np.ndarray]:
        """Returns the (..., 21, 3) joints in MediaPipe order and their (..., 21, 3, unknowns) derivatives."""
        _, chain, axes, shape_dirs = self.chains(pose)
        joints = _with_wrist(pose, chain)
        several = joints.shape[:-2]
        result = np.zeros((*several, 21, 3, self.num_unknowns))
        result[..., :3] = ((joints - pose.position[..., None, :]) @ _SKEW).reshape(*several, 21, 3, 3)
        result[..., 3:6] = np.eye(3)
        fingers = result[..., 1:, :, :].reshape(*several, 5, 4, 3, self.num_unknowns)  # a view, as all of the following
        # A rotation of joint l about axis a moves the joints m > l of its finger by a x (X_m - X_l).
        arms = (chain[..., :, None, :] - chain[..., None, :3, :]) * _BEYOND
        skew = (arms @ _SKEW).reshape(*several, 5, 4, 3, 3, 3)
        moves = skew @ axes[..., None, :, :, :]
        angles = fingers[..., NUM_RIGID : NUM_RIGID + NUM_ANGLES].reshape(*several, 5, 4, 3, 5, 3, 3)
        own = np.einsum("...fjxflk->...fjlxk", angles)  # the effect of each finger's joints on itself
        own[...] = moves
        fingers[..., NUM_RIGID + NUM_ANGLES :] = shape_dirs
        return joints, result

    def chains(self, pose: HandPose) -> FingerChains:
        """Returns frames, positions and derivatives of the fingers."""
        frames, chain, axes = self._chains(pose)
        shape_dirs = np.cumsum(frames @ self._offset_dirs, axis=-3)
        return FingerChains(frames, chain, frames[..., :3, :, :] @ axes, shape_dirs)

    def turns(self, angles: np.ndarray) -> np.ndarray:
        """Converts (..., 15, 3) angles to (..., 15, 3) rotation vectors, in the same order of the joints."""
        local, _ = self._local_rotations(angles)
        return vectors_from_matrices(local)

    def hand_pose(self, angles: np.ndarray) -> np.ndarray:
        """Converts (..., 15, 3) angles to (..., 45) axis-angle vectors in MANO order."""
        return in_mano_order(self.turns(angles))

    def angles(self, hand_pose: np.ndarray) -> np.ndarray:
        """Converts (..., 45) axis-angle vectors in MANO order to (..., 15, 3) angles."""
        return self.angles_of(matrices_from_vectors(np.reshape(hand_pose, (*hand_pose.shape[:-1], 15, 3))))

    def angles_of(self, rotations: np.ndarray) -> np.ndarray:
        """Converts (..., 15, 3, 3) rotations in MANO order to (..., 15, 3) angles."""
        turn = self._axes_inverse @ rotations[..., _MANO_JOINTS, :, :] @ self._axes
        flexion = np.arctan2(-turn[..., 2, 0], turn[..., 0, 0])
        abduction = np.arcsin(np.minimum(np.maximum(turn[..., 1, 0], -1), 1))
        twist = np.arctan2(-turn[..., 1, 2], turn[..., 1, 1])
        return np.stack([flexion, abduction, twist], axis=-1)

    def _chains(self, pose: HandPose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns frames and positions of the chains (see ``follow_chains``), and the axes of ``_local_rotations``."""
        several = pose.position.shape[:-1]
        local, axes = self._local_rotations(pose.angles)
        local, axes = local.reshape(*several, 5, 3, 3, 3), axes.reshape(*several, 5, 3, 3, 3)
        offsets = self._offsets + (pose.betas @ self._offset_rows).reshape(*several, 5, 4, 3)
        frames, chain = follow_chains(pose.rotation, pose.position, local, offsets)
        return frames, chain, axes

    def _local_rotations(self, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Converts (..., 15, 3) angles to rotations.

        Flexion comes first and twist last (about y, z and x of the joint's axes), so that no joint bends through the
        singularity.

        Returns:
            (..., 15, 3, 3) rotations in the rest frame, and (..., 15, 3, 3) matrices whose columns are the axes about
            which the three angles turn, before the joint is turned.
        """
        sine, cosine = np.sin(angles), np.cos(angles)
        sf, sa, st = sine[..., 0:1], sine[..., 1:2], sine[..., 2:3]
        cf, ca, ct = cosine[..., 0:1], cosine[..., 1:2], cosine[..., 2:3]
        x, y, z = self._axes[..., 0], self._axes[..., 1], self._axes[..., 2]
        flexed_x, flexed_z = cf * x - sf * z, sf * x + cf * z
        abducted_x, abducted_y = ca * flexed_x + sa * y, ca * y - sa * flexed_x
        turned = np.empty((*angles.shape, 3))
        turned[..., 0] = abducted_x
        turned[..., 1] = ct * abducted_y + st * flexed_z
        turned[..., 2] = ct * flexed_z - st * abducted_y
        axes = np.empty((*angles.shape, 3))
        axes[..., 0], axes[..., 1], axes[..., 2] = y, flexed_z, abducted_x
        return turned @ self._axes_inverse, axes


def _with_wrist(pose: HandPose, chain: np.ndarray) -> np.ndarray:
    """Returns the (..., 21, 3) joints of the wrist and of (..., 5, 4, 3) chains."""
    joints = np.empty((*pose.position.shape[:-1], 21, 3))
    joints[..., 0, :] = pose.position
    joints[..., 1:, :] = chain.reshape(*chain.shape[:-3], 20, 3)
    return joints


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (..., 3) rotation vectors of ``b @ a.T`` for rotations that differ by less than half a turn.

    It takes a tenth of the time of SciPy, which checks its input.
    """
    r = b @ np.swapaxes(a, -1, -2)
    sine_axis = 0.5 * (r[..., [2, 0, 1], [1, 2, 0]] - r[..., [1, 2, 0], [2, 0, 1]])
    sine = np.sqrt((sine_axis * sine_axis).sum(-1))
    cosine = 0.5 * (r[..., 0, 0] + r[..., 1, 1] + r[..., 2, 2] - 1)
    return sine_axis * (np.arctan2(sine, cosine) / np.maximum(sine, 1e-9) + (sine <= 1e-9))[..., None]


def _chain_offsets(joints: np.ndarray) -> np.ndarray:
    """Converts (21, ...) joints to (5, 4, ...) differences along each finger."""
    chain = joints[1:].reshape(5, 4, *joints.shape[1:])
    return np.diff(chain, axis=1, prepend=np.broadcast_to(joints[0], (5, 1, *joints.shape[1:])))


def in_mano_order(turns: np.ndarray) -> np.ndarray:
    """Returns the (..., 45) MANO pose of (..., 15, 3) rotation vectors of the articulated joints."""
    pose = np.empty(turns.shape)
    pose[..., _MANO_JOINTS, :] = turns
    return pose.reshape(*turns.shape[:-2], 45)
