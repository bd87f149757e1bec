"""From the operator's wrist to the commanded pose: clutch, scaling, workspace, speed limits and watchdog.

A function of time and of what was observed, without a clock of its own: every method takes ``now``, seconds of one clock. Whatever is
observed (hands lost, swapped, jumping, late), two commands at times t1 < t2 differ by at most the speed limits times (t2 - t1), unless
commands had stopped between them and the robot itself has said since that it is elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from .observation import Pose


@dataclass(frozen=True)
class FollowerConfig:
    """Limits and scaling of one arm; positions in metres in the target frame."""

    position_scale: float = 1.0
    """Robot's motion for a motion of the hand."""
    follow_rotation: bool = True
    max_speed: float = 0.5
    """m/s"""
    max_rotation_speed: float = 1.5
    """rad/s"""
    workspace_min: tuple[float, float, float] = (-np.inf, -np.inf, -np.inf)
    workspace_max: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    watchdog: float = 0.1
    """Seconds without a good hand after which no more commands come."""
    resume: float = 1.0
    """Seconds within which a hand that comes back goes on from where the robot is; later the clutch must be engaged anew."""
    max_hand_speed: float = 4.0
    """m/s; what moves faster is another hand, or none."""


class Follower:
    """Moves one arm relative to the poses of hand and robot at the moment of engaging."""

    def __init__(self, config: FollowerConfig):
        self._config = config
        self._engaged = False
        self._lost_since = 0.0
        self._hand: Pose | None = None
        self._seen = -np.inf
        self._anchor: tuple[Pose, Pose] | None = None
        self._robot: Pose | None = None
        self._commanded_at: float | None = None

    @property
    def engaged(self) -> bool:
        """Whether the clutch is closed; commands come while, besides, a good hand is seen."""
        return self._engaged

    def stopped(self, now: float) -> bool:
        """Whether the clutch is closed, but no good hand has come for longer than the watchdog."""
        since = self._lost_since if self._anchor is None else self._seen
        return self._engaged and now - since > self._config.watchdog

    def engage(self, now: float, robot: Pose) -> None:
        """Closes the clutch with the ``robot`` where it is; it moves from there with the hand's next motions."""
        self._engaged, self._lost_since = True, now
        self._robot, self._anchor, self._commanded_at = robot, None, None

    def release(self) -> None:
        """Opens the clutch: no commands until engaged anew."""
        self._engaged, self._anchor, self._commanded_at = False, None, None

    def observe(self, now: float, wrist: Pose | None, robot: Pose | None = None) -> bool:
        """Takes one frame's wrist, None where the hand is missing or doubtful; False where it was not believed.

        Motion that begins or goes on with it starts from ``robot``, if given, or else from the last command.
        """
        self._expire(now)
        if wrist is None or not (np.isfinite(wrist.position).all() and np.isfinite(wrist.rotation.as_quat()).all()):
            return False
        if now - self._seen <= self._config.watchdog:
            # Frames that arrive together were not taken together: count a camera's usual spacing at least.
            elapsed = max(now - self._seen, 0.02)
            if np.linalg.norm(wrist.position - self._hand.position) > self._config.max_hand_speed * elapsed:
                return False
        self._hand, self._seen = wrist, max(now, self._seen)
        if self._engaged and self._anchor is None:
            self._robot = self._robot if robot is None else robot
            self._anchor = wrist, self._robot
        return True

    def command(self, now: float) -> Pose | None:
        """The pose to send at ``now``; None while the robot must not be moved."""
        self._expire(now)
        if self._anchor is None:
            return None
        elapsed = 0.0 if self._commanded_at is None else np.clip(now - self._commanded_at, 0.0, self._config.watchdog)
        self._robot = self._towards(self._target(), float(elapsed))
        self._commanded_at = now if self._commanded_at is None else max(now, self._commanded_at)
        return self._robot

    def _expire(self, now: float) -> None:
        if self._anchor is not None and now - self._seen > self._config.watchdog:
            self._anchor, self._commanded_at, self._lost_since = None, None, self._seen
        if self._engaged and self._anchor is None and now - self._lost_since > self._config.resume:
            self.release()

    def _target(self) -> Pose:
        config = self._config
        hand_then, robot_then = self._anchor
        position = robot_then.position + config.position_scale * (self._hand.position - hand_then.position)
        rotation = robot_then.rotation
        if config.follow_rotation:
            rotation = self._hand.rotation * hand_then.rotation.inv() * robot_then.rotation
        return Pose(np.clip(position, config.workspace_min, config.workspace_max), rotation)

    def _towards(self, target: Pose, seconds: float) -> Pose:
        step = limited(target.position - self._robot.position, self._config.max_speed * seconds)
        turn = limited(
            (target.rotation * self._robot.rotation.inv()).as_rotvec(), self._config.max_rotation_speed * seconds
        )
        return Pose(self._robot.position + step, Rotation.from_rotvec(turn) * self._robot.rotation)


def limited(vector: np.ndarray, longest: float) -> np.ndarray:
    """The vector, shortened to ``longest`` where it is longer."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
