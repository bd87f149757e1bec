"""Converts the hands of each frame to commands for a robot arm and its gripper or robot hand, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..geometry.pose import Pose
from ..types import Side
from .follower import Follower, FollowerConfig
from .glitch_filter import GlitchFilter
from .lock import HandLock
from .observation import HandObservation, TrustLimits, curl
from .signals import HeldGesture, RateLimited, opening

SERVICE, CURL, OTHER_HAND = "service", "curl", "other_hand"
CLUTCHES = (SERVICE, CURL, OTHER_HAND)
"""What closes the clutch: a service call; closing middle, ring and pinky of the same hand; the fist of the other hand.
Opening the fingers opens the clutch."""

CLUTCH_FINGERS = {CURL: ("middle", "ring", "pinky"), OTHER_HAND: ("index", "middle", "ring", "pinky")}
CURL_ON, CURL_OFF, CURL_HOLD = 0.8, 0.5, 0.3
ROBOT_MAX_AGE = 1.0
"""Seconds after which a pose reported by the robot is too old to engage."""


@dataclass(frozen=True)
class ArmConfig:
    """Configuration of one arm."""

    side: Side
    follower: FollowerConfig = field(default_factory=FollowerConfig)
    trust: TrustLimits = field(default_factory=TrustLimits)
    clutch: str = SERVICE
    pinch_closed: float = 0.02
    """Metres between thumb and index finger at which the gripper is closed."""
    pinch_opened: float = 0.09
    """Metres between thumb and index finger at which the gripper is open."""
    gripper_speed: float = 4.0
    """Strokes per second."""
    joint_speed: float = 6.0
    """Maximum speed of the robot hand's joints in rad/s (m/s for sliding joints)."""
    glitch_lag: int = 0
    """Images by which the hand is followed later, so that glitches of up to so many images are replaced; 0 for none."""


@dataclass(frozen=True)
class ArmCommand:
    """The command at one moment."""

    pose: Pose
    opening: float
    """Opening of the gripper: 0 closed, 1 open."""
    joints: np.ndarray | None
    """Positions of the robot hand's joints; None without a robot hand."""
    stamp: int
    """Stamp of the image whose hand is followed, in nanoseconds."""


@dataclass(frozen=True)
class _HandGoal:
    """Goal of the gripper or the robot hand."""

    opening: float
    joints: np.ndarray | None
    stamp: int


class Arm:
    """Moves one arm. Not thread-safe.

    It has no clock: every method takes ``now``, in seconds of one clock.
    """

    def __init__(
        self, config: ArmConfig, retarget: Callable[[np.ndarray], np.ndarray] | None = None, start: Pose | None = None
    ):
        """Creates an arm whose clutch is open.

        Args:
            config: configuration of the arm.
            retarget: returns the positions of the robot hand's joints for (21, 3) joints of the human hand; None
                without a robot hand.
            start: pose of the arm until ``robot_at`` reports it; None if unknown.
        """
        self.status = "released"
        """What the arm is doing, or why it does not move."""
        self.hand: HandObservation | None = None
        """The operator's hand that the last image made known; None if it was missing or not trusted."""
        self.rejected = 0
        """Number of images whose hand was not trusted or jumped."""
        self._config, self._retarget = config, retarget
        self._lock, self._follower = HandLock(config.side), Follower(config.follower)
        self._glitches = GlitchFilter(config.glitch_lag, config.follower.watchdog)
        self._gesture = HeldGesture(CURL_ON, CURL_OFF, CURL_HOLD)
        self._gripper, self._joints = RateLimited(config.gripper_speed), RateLimited(config.joint_speed)
        self._robot = start
        """Where the robot is: its last report or the last command, whichever is later."""
        self._robot_reported_at: float | None = None
        self._rejection = ""
        """Why the hand of the last frame is not followed; empty if it is followed, or if there was none."""
        self._goal: _HandGoal | None = None

    @property
    def engaged(self) -> bool:
        """Whether the clutch is closed."""
        return self._follower.engaged

    @property
    def glitches(self) -> int:
        """Number of glitches that were replaced."""
        return self._glitches.replaced

    def robot_at(self, now: float, pose: Pose) -> None:
        """Sets the pose of the end effector as the robot reports it.

        It is used when a motion begins or continues after a pause.
        """
        self._robot_reported_at, self._robot = now, pose

    def engage(self, now: float) -> bool:
        """Closes the clutch, unless the robot's pose is unknown or too old.

        Returns:
            Whether the clutch is closed; ``status`` has the reason if it is not.
        """
        if self._robot is None:
            self.status = (
                "cannot engage: the robot's pose is unknown (no robot_pose has been received, and start.orientation is "
                "not set)"
            )
            return False
        if self._robot_reported_at is not None and now - self._robot_reported_at > ROBOT_MAX_AGE:
            age = now - self._robot_reported_at
            self.status = (
                f"cannot engage: the last robot_pose was received {age:.1f} s ago; it must arrive at least every "
                f"{ROBOT_MAX_AGE:g} s"
            )
            return False
        self._follower.engage(now, self._robot)
        self._rejection = ""
        self.status = f"engaged, waiting for the {self._config.side.value} hand"
        return True

    def release(self) -> None:
        """Opens the clutch and forgets the hand; the next hand may be another person's."""
        self._follower.release()
        self._lock.release()
        self._glitches.clear()
        self.status = "released"

    def frame(self, now: float, hands: Sequence[HandObservation]) -> None:
        """Adds all hands of an image, in the target frame."""
        trusted, reasons = [], []
        for hand in hands:
            if violation := self._config.trust.violation(hand):
                reasons += [violation] if hand.side is self._config.side else []
            else:
                trusted.append(hand)
        self.hand = self._lock.pick(trusted)
        # Before the delay of the glitch filter: the clutch opens as soon as the hand does.
        self._use_gesture(now, trusted)
        if self.hand is not None:
            self.hand = self._glitches.update(now, self.hand)
        was_engaged = self.engaged
        followed = self._follower.observe(now, self.hand.wrist if self.hand else None, self._robot)
        self._detect_release(was_engaged)
        if not followed:
            reasons += ["the hand jumped"] if self.hand is not None else []
            self.rejected += bool(reasons)
            self.hand = None
        self._rejection = "" if followed else "; ".join(reasons)
        if self.engaged:
            side = self._config.side.value
            self.status = "following" if followed else self._rejection or f"engaged, waiting for the {side} hand"
            self._report_stop(now)
        if self.hand is not None:
            joints = self._retarget(self.hand.local_joints) if self._retarget and self.engaged else None
            gripper = opening(self.hand.pinch, self._config.pinch_closed, self._config.pinch_opened)
            self._goal = _HandGoal(gripper, joints, self.hand.stamp)

    def tick(self, now: float) -> ArmCommand | None:
        """Returns the command to send at ``now``; None while the robot must not move."""
        was_engaged = self.engaged
        pose = self._follower.command(now)
        self._detect_release(was_engaged)
        if pose is None or self._goal is None:
            self._report_stop(now)
            return None
        self._robot = pose
        goal, share = self._goal, self._follower.speed_share(now)
        joints = None if goal.joints is None else self._joints.update(now, goal.joints, share)
        gripper = self._gripper.update(now, np.asarray(goal.opening), share)
        return ArmCommand(pose, float(gripper), joints, goal.stamp)

    def _detect_release(self, was_engaged: bool) -> None:
        if was_engaged and not self.engaged:
            self.release()
            self.status = "released: the hand was lost for too long, engage again"

    def _report_stop(self, now: float) -> None:
        if self._follower.stopped(now):
            reason = f" ({self._rejection})" if self._rejection else ""
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
