"""Hands in another frame than the camera's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..geometry.pose import Pose
from ..geometry.so3 import matrices_from_vectors, vectors_from_matrices
from ..types import HandEstimate, ManoParameters, Side
from .asset import HandAsset, joints_linear


class HandPlacement:
    """Transforms hands rigidly from one frame to another.

    Args:
        hand_model: Hand model of each side to which the parameters belong.
    """

    def __init__(self, hand_model: Mapping[Side, HandAsset]):
        self._wrists = {}
        for side, asset in hand_model.items():
            template, dirs = joints_linear(asset)
            self._wrists[side] = template[0], dirs[0]

    def wrist(self, mano: ManoParameters, side: Side) -> np.ndarray:
        """Returns the (3,) position of the wrist joint."""
        return np.asarray(mano.transl, np.float64) + self._at_rest(mano.betas, side)

    def with_wrist(self, mano: ManoParameters, side: Side, wrist: np.ndarray) -> ManoParameters:
        """Returns the parameters with the wrist joint at the (3,) position ``wrist``."""
        transl = wrist - self._at_rest(mano.betas, side)
        return ManoParameters(transl, mano.global_orient, mano.hand_pose, mano.betas)

    def moved(self, mano: ManoParameters, side: Side, pose: Pose) -> ManoParameters:
        """Returns the parameters in the parent frame of ``pose``; they are given in its child frame."""
        orient = vectors_from_matrices(pose.rotation @ matrices_from_vectors(mano.global_orient))
        turned = ManoParameters(mano.transl, orient, mano.hand_pose, mano.betas)
        return self.with_wrist(turned, side, pose.apply(self.wrist(mano, side)))

    def hand(self, hand: HandEstimate, pose: Pose) -> HandEstimate:
        """Returns a hand of the camera frame in the parent frame of ``pose``, the pose of the camera.

        2D values, scores and the like stay as they are.
        """
        rotation = pose.rotation
        changed = dict(vars(hand))
        changed.pop("vertices", None)  # cached, in the camera frame
        changed.update(
            joints=pose.apply(hand.joints),
            wrist_position=pose.apply(hand.wrist_position),
            wrist_rotation=rotation @ hand.wrist_rotation,
            mano=self.moved(hand.mano, hand.side, pose),
            pose_mesh=lambda *_: pose.apply(hand.vertices).astype(np.float32),
        )
        if hand.joints_stddev is not None:
            # The covariances between a joint's coordinates are unknown and assumed to be zero.
            changed["joints_stddev"] = np.sqrt(hand.joints_stddev**2 @ (rotation**2).T)
        if hand.wrist_covariance is not None:
            turn = np.kron(np.eye(2), rotation)
            changed["wrist_covariance"] = turn @ hand.wrist_covariance @ turn.T
        return HandEstimate(**changed)

    def _at_rest(self, betas: np.ndarray, side: Side) -> np.ndarray:
        template, dirs = self._wrists[side]
        return template + dirs @ betas
