"""The pose of a moving frame, such as that of a head-mounted camera, at any time of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from .pose import Pose

MAX_POSE_GAP = 0.2
"""Seconds between two poses over which nothing is interpolated."""
MAX_SPEED, MAX_TURN = 5.0, 15.0
"""Speed in metres and radians per second above which two poses are separated by a jump, such as a relocalisation of
the tracker. A head reaches a third of both."""
JITTER, JITTER_TURN = 0.02, 0.05
"""Steps in metres and radians that are never a jump, however close in time the poses are."""


@dataclass(frozen=True, eq=False)
class TimedPose:
    """The pose at one time."""

    pose: Pose
    piece: tuple[int, ...]
    """Poses of different pieces are separated by a jump or a gap, and must not be compared or interpolated."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of a child frame in a parent frame, by time. The orientation is interpolated on the great arc (slerp)."""

    times: np.ndarray
    """(N,) ascending, in seconds, or numbers of images."""
    positions: np.ndarray
    """(N, 3) metres."""
    rotations: Rotation
    """N rotations."""
    is_static: bool = False
    """Whether the single pose holds at all times."""
    by_image: bool = False
    """Whether ``times`` are numbers of images, from 0. Nothing is interpolated then."""

    @classmethod
    def of(
        cls, times: np.ndarray, positions: np.ndarray, quaternions: np.ndarray, by_image: bool = False
    ) -> Trajectory:
        """Sorts poses by time and drops repeated times.

        Args:
            times: (N,) seconds, or numbers of images.
            positions: (N, 3) metres.
            quaternions: (N, 4) x, y, z, w.
            by_image: Whether ``times`` are numbers of images.

        Raises:
            ValueError: There are no poses, or a number is not finite, or a quaternion is none.
        """
        times, positions, quaternions = (np.asarray(each, np.float64) for each in (times, positions, quaternions))
        if not len(times):
            raise ValueError("there are no poses")
        if not (np.isfinite(times).all() and np.isfinite(positions).all() and np.isfinite(quaternions).all()):
            raise ValueError("a pose has a number that is not finite")
        norms = np.linalg.norm(quaternions, axis=1)
        if (norms < 1e-6).any():
            raise ValueError("a pose has the quaternion 0, which is no rotation")
        if not ((norms > 0.5) & (norms < 2)).all():
            worst = norms[np.argmax(np.abs(np.log(norms)))]
            raise ValueError(f"a quaternion has the norm {worst:.3g} instead of 1: are the columns in another order?")
        times, order = np.unique(times, return_index=True)
        return cls(times, positions[order], Rotation.from_quat(quaternions[order]), by_image=by_image)

    @classmethod
    def static(cls, pose: Pose) -> Trajectory:
        """Returns the trajectory of a frame that does not move."""
        return cls(np.zeros(1), pose.position[None], Rotation.from_matrix(pose.rotation[None]), is_static=True)

    @cached_property
    def _pieces(self) -> np.ndarray:
        """(N,) number of the piece of each pose; a new piece begins after a jump."""
        steps = np.diff(self.times)
        distances = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        angles = (self.rotations[:-1].inv() * self.rotations[1:]).magnitude() if len(steps) else np.zeros(0)
        if self.by_image:
            return np.zeros(len(self.times), int)
        jumps = (distances > JITTER + MAX_SPEED * steps) | (angles > JITTER_TURN + MAX_TURN * steps)
        return np.concatenate([[0], np.cumsum(jumps | (steps > MAX_POSE_GAP))])

    @property
    def jumps(self) -> list[float]:
        """The times, in seconds, before which the poses jump or pause."""
        return self.times[1:][np.diff(self._pieces) > 0].tolist()

    def at(self, time: float) -> TimedPose | None:
        """Returns the pose at a time, or None if it is not known: before the first pose, after the last one, or in a
        gap or jump."""
        if self.is_static:
            return TimedPose(self._pose(0), ())
        after = int(np.searchsorted(self.times, time))
        if after < len(self.times) and self.times[after] == time:
            return TimedPose(self._pose(after), (int(self._pieces[after]),))
        if self.by_image or not 0 < after < len(self.times) or self._pieces[after - 1] != self._pieces[after]:
            return None
        share = (time - self.times[after - 1]) / (self.times[after] - self.times[after - 1])
        first, second = self.rotations[after - 1], self.rotations[after]
        turned = first * Rotation.from_rotvec(share * (first.inv() * second).as_rotvec())
        position = self.positions[after - 1] + share * (self.positions[after] - self.positions[after - 1])
        return TimedPose(Pose(turned.as_matrix(), position), (int(self._pieces[after]),))

    def shifted(self, seconds: float) -> Trajectory:
        """Returns the trajectory with ``seconds`` added to all times."""
        return Trajectory(self.times + seconds, self.positions, self.rotations, self.is_static, self.by_image)

    def mounted(self, mount: Pose) -> Trajectory:
        """Returns the trajectory of a frame that is fixed to the child frame.

        Args:
            mount: Pose of the fixed frame in the child frame.
        """
        positions = self.positions + self.rotations.apply(mount.position)
        rotations = self.rotations * Rotation.from_matrix(mount.rotation)
        return Trajectory(self.times, positions, rotations, self.is_static, self.by_image)

    def _pose(self, number: int) -> Pose:
        return Pose(self.rotations[number].as_matrix(), self.positions[number])


@dataclass(frozen=True)
class TrajectoryChain:
    """A chain of trajectories, such as the transforms of TF from a frame down to a camera."""

    links: tuple[tuple[Trajectory, bool], ...]
    """Trajectories from the parent to the child, each with whether it is passed from its child to its parent."""

    def at(self, time: float) -> TimedPose | None:
        """Returns the pose of the last frame in the first one; None if one of the links is not known then."""
        pose = Pose.identity()
        pieces: list[int] = []
        for trajectory, is_inverse in self.links:
            found = trajectory.at(time)
            if found is None:
                return None
            pose = pose @ (found.pose.inverse() if is_inverse else found.pose)
            pieces += found.piece
        return TimedPose(pose, tuple(pieces))

    @property
    def span(self) -> tuple[float, float] | None:
        """The times, in seconds, between which all links are known; None if nothing moves."""
        moving = [trajectory for trajectory, _ in self.links if not trajectory.is_static]
        if not moving:
            return None
        return max(float(each.times[0]) for each in moving), min(float(each.times[-1]) for each in moving)

    @property
    def jumps(self) -> list[float]:
        """The times, in seconds, before which a link jumps or pauses."""
        return sorted(time for trajectory, _ in self.links if not trajectory.is_static for time in trajectory.jumps)

    @property
    def by_image(self) -> bool:
        """Whether the times are numbers of images."""
        return any(trajectory.by_image for trajectory, _ in self.links)
