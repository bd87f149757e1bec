"""Converts the operator's wrist to the commanded pose: clutch, scaling, workspace, speed limits and watchdog.

It has no clock: every method takes ``now``, in seconds of one clock. Invariant: whatever is observed (hands that are
lost, swapped, late or jump), two commands at times t1 < t2 differ by at most the speed limits times (t2 - t1), unless
commands stopped between them and the robot has since reported that it is elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.pose import Pose
from .observation import is_finite


@dataclass(frozen=True)
class FollowerConfig:
    """Limits and scaling of one arm; positions in metres in the target frame."""

    position_scale: float = 1.0
    """Motion of the robot relative to the motion of the hand."""
    follow_rotation: bool = True
    """Whether the end effector rotates with the hand."""
    max_speed: float = 0.5
    """m/s"""
    max_rotation_speed: float = 1.5
    """rad/s"""
    workspace_min: tuple[float, float, float] = (-np.inf, -np.inf, -np.inf)
    workspace_max: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    watchdog: float = 0.1
    """Seconds without a trusted hand after which commands stop."""
    resume: float = 1.0
    """Seconds within which a hand that reappears continues from where the robot is; later the clutch has to be engaged
    again."""
    max_hand_speed: float = 4.0
    """m/s; a faster motion means another hand or a wrong estimate."""
    ramp: float = 0.5
    """Seconds in which the speed limits rise from 0 to their full values after a motion begins or continues: the first
    estimates of a hand that reappears are the least reliable ones."""


@dataclass(frozen=True)
class _Anchor:
    """The poses of hand and robot when a motion began, to which it is relative."""

    hand: Pose
    robot: Pose


class Follower:
    """Moves one arm relative to the poses of hand and robot at the moment of engaging."""

    def __init__(self, config: FollowerConfig):
        self._config = config
        self._engaged = False
        self._lost_since = 0.0
        self._hand = Pose.identity()
        """The last trusted wrist; meaningless before the first one."""
        self._seen_at = -np.inf
        self._anchor: _Anchor | None = None
        """None while no hand is followed."""
        self._robot = Pose.identity()
        """Where the robot is; meaningless before the clutch is engaged."""
        self._commanded_at: float | None = None
        self._moving_since = 0.0
        """When the first command of this motion was sent; meaningless while there is no command."""

    @property
    def engaged(self) -> bool:
        """Whether the clutch is closed. Commands are sent while it is closed and a trusted hand is visible."""
        return self._engaged

    def stopped(self, now: float) -> bool:
        """Returns whether the clutch is closed, but no trusted hand has been seen for ``watchdog`` seconds."""
        since = self._lost_since if self._anchor is None else self._seen_at
        return self._engaged and now - since > self._config.watchdog

    def speed_share(self, now: float) -> float:
        """Returns the share of the speed limits that is allowed at ``now``, from 0 to 1."""
        if self._commanded_at is None:
            return 0.0
        return float(np.clip((now - self._moving_since) / self._config.ramp, 0.0, 1.0)) if self._config.ramp else 1.0

    def engage(self, now: float, robot: Pose) -> None:
        """Closes the clutch.

        Args:
            now: time in seconds.
            robot: current pose of the robot, from which it follows the next motions of the hand.
        """
        self._engaged, self._lost_since = True, now
        self._robot, self._anchor, self._commanded_at = robot, None, None

    def release(self) -> None:
        """Opens the clutch: there are no commands until it is engaged again."""
        self._engaged, self._anchor, self._commanded_at = False, None, None

    def observe(self, now: float, wrist: Pose | None, robot: Pose | None = None) -> bool:
        """Adds the wrist of an image.

        Args:
            now: time in seconds.
            wrist: pose of the wrist; None if the hand is missing or not trusted.
            robot: current pose of the robot, from which a motion starts or continues; None for the last command.

        Returns:
            Whether the wrist is followed; False also if it has jumped.
        """
        self._expire(now)
        if wrist is None or not is_finite(wrist):
            return False
        if now - self._seen_at <= self._config.watchdog:
            # Frames that arrive together were not taken together, so at least a camera's usual interval is assumed.
            elapsed = max(now - self._seen_at, 0.02)
            if np.linalg.norm(wrist.position - self._hand.position) > self._config.max_hand_speed * elapsed:
                return False
        self._hand, self._seen_at = wrist, max(now, self._seen_at)
        if self._engaged and self._anchor is None:
            self._robot = self._robot if robot is None else robot
            self._anchor = _Anchor(wrist, self._robot)
        return True

    def command(self, now: float) -> Pose | None:
        """Returns the pose to send at ``now``; None while the robot must not move."""
        self._expire(now)
        if self._anchor is None:
            return None
        if self._commanded_at is None:
            self._moving_since = self._commanded_at = now
        elapsed = float(np.clip(now - self._commanded_at, 0.0, self._config.watchdog)) * self.speed_share(now)
        self._robot = self._step_towards(self._target(self._anchor), elapsed)
        self._commanded_at = max(now, self._commanded_at)
        return self._robot

    def _expire(self, now: float) -> None:
        if self._anchor is not None and now - self._seen_at > self._config.watchdog:
            self._anchor, self._commanded_at, self._lost_since = None, None, self._seen_at
        if self._engaged and self._anchor is None and now - self._lost_since > self._config.resume:
            self.release()

    def _target(self, anchor: _Anchor) -> Pose:
        config = self._config
        position = anchor.robot.position + config.position_scale * (self._hand.position - anchor.hand.position)
        rotation = anchor.robot.rotation
        if config.follow_rotation:
            rotation = self._hand.rotation @ anchor.hand.rotation.T @ rotation
        return Pose(rotation, np.clip(position, config.workspace_min, config.workspace_max))

    def _step_towards(self, target: Pose, seconds: float) -> Pose:
        step = limited(target.position - self._robot.position, self._config.max_speed * seconds)
        turn = Rotation.from_matrix(target.rotation @ self._robot.rotation.T).as_rotvec()
        turn = limited(turn, self._config.max_rotation_speed * seconds)
        rotation = Rotation.from_rotvec(turn) * Rotation.from_matrix(self._robot.rotation)
        return Pose(rotation.as_matrix(), self._robot.position + step)


def limited(vector: np.ndarray, max_length: float) -> np.ndarray:
    """Returns the vector, shortened to ``max_length`` if it is longer."""
    length = float(np.linalg.norm(vector))
    return vector if length <= max_length else vector * (max_length / length)
