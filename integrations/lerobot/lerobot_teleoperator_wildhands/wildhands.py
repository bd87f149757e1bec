"""The teleoperator ``wildhands`` (``--teleop.type=wildhands``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.teleoperators.config import TeleoperatorConfig
from lerobot.teleoperators.teleoperator import Teleoperator
from scipy.spatial.transform import Rotation

from wildhands_ros import Estimator, EstimatorConfig, load_calibration
from wildhands_ros.config import SearchTime, SmoothingConfig
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.io.sources import Frame, open_source
from wildhands_ros.teleop.arm import CURL, OTHER_HAND, SERVICE, ArmConfig
from wildhands_ros.teleop.follower import FollowerConfig
from wildhands_ros.teleop.live_arm import LiveArm
from wildhands_ros.types import FrameEstimate, Side

CLUTCHES = {"curl": CURL, "other_hand": OTHER_HAND, "always": SERVICE}
OPEN, CLOSED = 2 / 3, 1 / 3
"""Openings of the hand above and below which the gripper opens and closes."""
TARGETS = ("target_x", "target_y", "target_z", "target_wx", "target_wy", "target_wz")
ACTION = ("enabled", *TARGETS, "gripper_vel")
"""Names of the action: those that LeRobot's processor step EEReferenceAndDelta reads."""


@TeleoperatorConfig.register_subclass("wildhands")
@dataclass(kw_only=True)
class WildHandsConfig(TeleoperatorConfig):
    """Configuration of the camera, and the limits of the commands."""

    camera: str = "0"
    """Number of the camera, or a video."""
    calibration: Path | None = None
    """Calibration of the camera (docs/calibration.md); None to use ``field_of_view``."""
    field_of_view: float = 70.0
    """Horizontal field of view in degrees. Without a calibration, distances are as wrong as this number."""
    camera_orientation: tuple[float, float, float, float] = (-0.5, 0.5, -0.5, 0.5)
    """Orientation of the camera (z forward, y down) in the base frame of the robot, as quaternion x, y, z, w. Default:
    it looks the way the robot does (x forward, z up)."""
    side: str = "right"
    """Hand that moves the robot."""
    clutch: str = "curl"
    """What enables the robot: curl, closing middle, ring and pinky finger of the same hand; other_hand, the fist of the
    other hand; always, a visible hand."""
    position_scale: float = 1.0
    """Motion of the robot relative to the motion of the hand."""
    max_speed: float = 0.5
    """m/s"""
    max_rotation_speed: float = 1.5
    """rad/s"""
    glitch_lag: int = 0
    """Images by which glitches are filtered later (docs/teleoperation.md)."""


class WildHands(Teleoperator):
    """Moves the end effector of a robot relative to where it was when the clutch was closed."""

    config_class = WildHandsConfig
    name = "wildhands"

    def __init__(self, config: WildHandsConfig):
        super().__init__(config)
        if config.clutch not in CLUTCHES:
            raise ValueError(f"clutch is {config.clutch!r}; the choices are {', '.join(CLUTCHES)}")
        self.config = config
        self._live: LiveArm | None = None

    @property
    def action_features(self) -> dict[str, type]:
        return dict.fromkeys(ACTION, float)

    @property
    def feedback_features(self) -> dict[str, type]:
        return {}

    @property
    def is_connected(self) -> bool:
        return self._live is not None and self._live.running

    @property
    def is_calibrated(self) -> bool:
        return True

    @property
    def status(self) -> str:
        """What the arm is doing, or why it does not move."""
        return "not connected" if self._live is None else self._live.status

    def connect(self, calibrate: bool = True) -> None:
        """Opens the camera and loads the networks."""
        if self.is_connected:
            raise ConnectionError(f"{self} is already connected")
        config = self.config
        follower = FollowerConfig(
            position_scale=config.position_scale,
            max_speed=config.max_speed,
            max_rotation_speed=config.max_rotation_speed,
        )
        arm = ArmConfig(Side(config.side), follower, clutch=CLUTCHES[config.clutch], glitch_lag=config.glitch_lag)
        camera = Pose(Rotation.from_quat(config.camera_orientation).as_matrix(), np.zeros(3))
        self._live = LiveArm(open_source(config.camera), self._estimator(), arm, camera)
        self._live.start()

    def calibrate(self) -> None:
        """Does nothing: the camera has a calibration file."""

    def configure(self) -> None:
        """Does nothing: the configuration is complete."""

    def get_action(self) -> dict[str, float]:
        """Returns the displacement of the end effector since it was enabled, in metres and radians."""
        if self._live is None:
            raise ConnectionError(f"{self} is not connected")
        command = self._live.command()
        if command is None:
            return dict.fromkeys(ACTION, 0.0)
        turn = Rotation.from_matrix(command.pose.rotation).as_rotvec()
        velocity = float(command.opening > OPEN) - float(command.opening < CLOSED)
        targets = zip(TARGETS, (*command.pose.position.tolist(), *turn.tolist()), strict=True)
        return {"enabled": 1.0, **dict(targets), "gripper_vel": velocity}

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        """Does nothing: a hand feels nothing."""

    def disconnect(self) -> None:
        """Closes the camera."""
        if self._live is not None:
            self._live.close()
            self._live = None

    def _estimator(self) -> Callable[[Frame], FrameEstimate]:
        estimator = Estimator(replace(EstimatorConfig(), search=SearchTime(), smoothing=SmoothingConfig()))
        path, field_of_view = self.config.calibration, self.config.field_of_view
        calibration = None if path is None else load_calibration(path)

        def estimate(frame: Frame) -> FrameEstimate:
            image = frame.image
            camera = calibration.for_image(image) if calibration else Camera.for_image(image, field_of_view)
            return estimator(image, camera, frame.stamp)

        return estimate
