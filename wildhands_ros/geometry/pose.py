"""Rigid poses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .so3 import matrices_from_quaternions


@dataclass(frozen=True, eq=False)
class Pose:
    """Position and orientation of one frame (the child) in another (the parent).

    Example:
        >>> import numpy as np
        >>> from wildhands_ros import Pose
        >>> camera_in_base = Pose(np.eye(3), np.array([0.0, 0.0, 1.0]))
        >>> hand_in_camera = Pose(np.eye(3), np.array([0.1, 0.0, 0.0]))
        >>> (camera_in_base @ hand_in_camera).position.tolist()
        [0.1, 0.0, 1.0]
    """

    rotation: np.ndarray
    """(3, 3) matrix that rotates vectors of the child frame into the parent frame."""
    position: np.ndarray
    """(3,) origin of the child frame in the parent frame, in metres."""

    @classmethod
    def identity(cls) -> Pose:
        """Returns the pose of a frame in itself."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_message(cls, position: Any, orientation: Any) -> Pose:
        """Makes a pose of the parts of a geometry_msgs/Pose or Transform.

        Args:
            position: has x, y and z, in metres.
            orientation: has x, y, z and w; a norm other than 1 is corrected.

        Raises:
            ValueError: a number is not finite, or the norm of the orientation is not about 1.
        """
        place = np.array([position.x, position.y, position.z], np.float64)
        quaternion = np.array([orientation.x, orientation.y, orientation.z, orientation.w], np.float64)
        norm = np.linalg.norm(np.clip(quaternion, -2, 2))  # NaN stays NaN, and the square of no number is infinite.
        if not (np.isfinite(place).all() and 0.5 < norm < 2):
            raise ValueError(f"position {place.tolist()} or quaternion {quaternion.tolist()} is not one of a pose")
        return cls(matrices_from_quaternions(quaternion / norm), place)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Transforms (..., 3) points from the child frame into the parent frame."""
        return points @ self.rotation.T + self.position

    def inverse(self) -> Pose:
        """Returns the pose of the parent frame in the child frame."""
        return Pose(self.rotation.T, -self.rotation.T @ self.position)

    def __matmul__(self, other: Pose) -> Pose:
        """Returns the pose of ``other``'s child frame in this pose's parent frame."""
        return Pose(self.rotation @ other.rotation, self.apply(other.position))
