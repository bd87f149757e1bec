"""One robot arm with its hand, led by one of the operator's hands: everything between the hands of a frame and the commands. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..types import Side
from .follower import Follower, FollowerConfig
from .lock import HandLock
from .observation import HandObservation, Pose, Trust, curl
from .signals import HeldGesture, RateLimited, opening

SERVICE, CURL, OTHER_HAND = "service", "curl", "other_hand"
CLUTCHES = (SERVICE, CURL, OTHER_HAND)
"""What closes the clutch: a call; middle, ring and pinky of the same hand closed; the other hand's fist. Opening the fingers releases."""

CLUTCH_FINGERS = {CURL: ("middle", "ring", "pinky"), OTHER_HAND: ("index", "middle", "ring", "pinky")}
CURL_ON, CURL_OFF, CURL_HOLD = 0.8, 0.5, 0.3
ROBOT_MAX_AGE = 1.0
"""Seconds after which the robot's last word on where it is does not count for engaging."""


@dataclass(frozen=True)
class ArmConfig:
    """Choices for one arm."""

    side: Side
    follower: FollowerConfig = field(default_factory=FollowerConfig)
    trust: Trust = field(default_factory=Trust)
    clutch: str = SERVICE
    pinch_closed: float = 0.02
    """Metres between thumb and index at which the gripper is closed."""
    pinch_opened: float = 0.09
    """Metres at which it is open."""
    gripper_speed: float = 4.0
    """Strokes per second."""
    joint_speed: float = 6.0
    """rad/s (m/s of sliding joints) of the robot hand's joints."""


@dataclass(frozen=True)
class ArmCommand:
    """What to send at one moment."""

    pose: Pose
    opening: float
    """Of the gripper: 0 closed, 1 open."""
    joints: np.ndarray | None
    """Positions of the robot hand's joints; None without one."""


class Arm:
    """Takes frames and gives commands, both at times ``now`` in seconds of one clock. For one thread."""

    def __init__(
        self, config: ArmConfig, retarget: Callable[[np.ndarray], np.ndarray] | None = None, start: Pose | None = None
    ):
        """Takes the robot hand's retargeting, and where the arm is as long as ``robot_at`` has not said so; None for unknown."""
        self.status = "released"
        """What the arm does, or why it does not move, in words."""
        self.hand: HandObservation | None = None
        """The operator's hand in the last frame; None where it was missing or doubtful."""
        self.rejected = 0
        """Frames whose hand was doubtful or jumped."""
        self._config, self._retarget = config, retarget
        self._lock, self._follower = HandLock(config.side), Follower(config.follower)
        self._gesture = HeldGesture(CURL_ON, CURL_OFF, CURL_HOLD)
        self._gripper, self._joints = RateLimited(config.gripper_speed), RateLimited(config.joint_speed)
        self._robot = start
        """Where the robot is: its own last word or the last command, whichever came later."""
        self._heard_robot: float | None = None
        self._doubt = ""
        """Why the hand of the last frame is not followed; empty where there was none, or a good one."""
        self._goal: tuple[float, np.ndarray | None] | None = None

    @property
    def engaged(self) -> bool:
        return self._follower.engaged

    def robot_at(self, now: float, pose: Pose) -> None:
        """The robot's own word on where its end effector is; counts when motion begins, or goes on after a pause."""
        self._heard_robot, self._robot = now, pose

    def engage(self, now: float) -> bool:
        """Closes the clutch; False, with the reason in ``status``, where the robot's pose is unknown or old."""
        if self._robot is None:
            self.status = (
                "cannot engage: the robot's pose is unknown (no robot_pose has come, and start.position is not set)"
            )
            return False
        if self._heard_robot is not None and now - self._heard_robot > ROBOT_MAX_AGE:
            age = now - self._heard_robot
            self.status = f"cannot engage: the last robot_pose came {age:.1f} s ago; it must come at least once in {ROBOT_MAX_AGE:g} s"
            return False
        self._follower.engage(now, self._robot)
        self._doubt = ""
        self.status = f"engaged, waiting for the {self._config.side.value} hand"
        return True

    def release(self) -> None:
        """Opens the clutch; the next hand may be another one."""
        self._follower.release()
        self._lock.release()
        self.status = "released"

    def frame(self, now: float, hands: Sequence[HandObservation]) -> None:
        """Takes all hands of one frame, in the target frame."""
        doubts = {id(hand): self._config.trust.doubt(hand) for hand in hands}
        good = [hand for hand in hands if not doubts[id(hand)]]
        self.hand = self._lock.pick(good)
        reasons = [doubts[id(hand)] for hand in hands if doubts[id(hand)] and hand.side is self._config.side]
        self._use_gesture(now, good)
        was_engaged = self.engaged
        believed = self._follower.observe(now, self.hand.wrist if self.hand else None, self._robot)
        self._notice_release(was_engaged)
        if not believed:
            self.rejected += self.hand is not None or bool(reasons)
            reasons += ["the hand jumped"] if self.hand is not None else []
            self.hand = None
        self._doubt = "" if believed else "; ".join(reasons)
        if self.engaged:
            side = self._config.side.value
            self.status = "following" if believed else self._doubt or f"engaged, waiting for the {side} hand"
            self._say_stopped(now)
        if believed:
            joints = self._retarget(self.hand.local_joints) if self._retarget and self.engaged else None
            self._goal = opening(self.hand.pinch, self._config.pinch_closed, self._config.pinch_opened), joints

    def tick(self, now: float) -> ArmCommand | None:
        """The command to send at ``now``; None while the robot must not be moved."""
        was_engaged = self.engaged
        pose = self._follower.command(now)
        self._notice_release(was_engaged)
        if pose is None:
            self._say_stopped(now)
            return None
        self._robot = pose
        share, joints = self._goal
        joints = None if joints is None else self._joints.update(now, joints)
        return ArmCommand(pose, float(self._gripper.update(now, share)), joints)

    def _notice_release(self, was_engaged: bool) -> None:
        if was_engaged and not self.engaged:
            self.release()
            self.status = "released: the hand was lost for too long, engage anew"

    def _say_stopped(self, now: float) -> None:
        if self._follower.stopped(now):
            reason = f" ({self._doubt})" if self._doubt else ""
            self.status = f"stopped: no trusted hand for {self._config.follower.watchdog:g} s{reason}"

    def _use_gesture(self, now: float, hands: list[HandObservation]) -> None:
        if self._config.clutch == SERVICE:
            return
        other = next((hand for hand in hands if hand.side is not self._config.side), None)
        shown = self.hand if self._config.clutch == CURL else other
        value = None if shown is None else curl(shown.joints, CLUTCH_FINGERS[self._config.clutch])
        was = self._gesture.active
        active = self._gesture.update(now, value)
        if active and not was:
            self.engage(now)
        elif not active and self.engaged:
            self.release()
