"""Teleoperation from a camera in one process, without ROS: a thread estimates hands, the caller asks for commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from ..geometry.pose import Pose
from ..io.sources import Frame
from ..types import FrameEstimate
from .arm import SERVICE, Arm, ArmCommand, ArmConfig
from .observation import observed

HandEstimator = Callable[[Frame], FrameEstimate]
"""Estimates the hands of a frame; they have track identifiers."""


class LiveArm:
    """Moves one arm by the hand that a camera sees. Commands are relative: each motion begins at the identity.

    With the clutch ``SERVICE`` a motion begins as soon as there is a hand; the gestures work as in ``Arm``.
    """

    def __init__(self, frames: Iterable[Frame], estimate: HandEstimator, config: ArmConfig, camera: Pose):
        """Does not start yet.

        Args:
            frames: the frames of a camera or of a video.
            estimate: estimates their hands.
            config: configuration of the arm.
            camera: pose of the camera in the frame of the commands.
        """
        self._frames, self._estimate, self._camera = frames, estimate, camera
        self._by_gesture = config.clutch != SERVICE
        self._arm = Arm(config, start=Pose.identity())
        self._lock = threading.Lock()
        self._command: ArmCommand | None = None
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="wildhands live arm")

    @property
    def running(self) -> bool:
        """Whether frames are being read."""
        return self._thread.is_alive()

    @property
    def status(self) -> str:
        """What the arm is doing, or why it does not move."""
        return self._arm.status

    def start(self) -> None:
        """Starts to read frames."""
        self._thread.start()

    def close(self) -> None:
        """Stops after the frame that is being estimated."""
        self._stop.set()
        if self.running:
            self._thread.join()

    def command(self) -> ArmCommand | None:
        """Returns the command to send now; None while the clutch is open.

        While the clutch is closed and no hand is trusted, it is the last one: the arm stays where it is.

        Raises:
            RuntimeError: frames can no longer be read.
        """
        if self._error is not None:
            raise RuntimeError(f"the camera of the hands has failed: {self._error}") from self._error
        with self._lock:
            self._command = self._arm.tick(time.monotonic()) or self._command
            return self._command if self._arm.engaged else None

    def _run(self) -> None:
        try:
            for frame in self._frames:
                if self._stop.is_set():
                    return
                self._add(self._estimate(frame))
        except Exception as error:  # It is raised again in the thread that asks for commands.
            self._error = error

    def _add(self, estimate: FrameEstimate) -> None:
        stamp, now = time.time_ns(), time.monotonic()
        hands = [observed(hand, stamp).transformed(self._camera) for hand in estimate.hands]
        with self._lock:
            if not self._arm.engaged:
                self._command = None
                self._arm.robot_at(now, Pose.identity())
            self._arm.frame(now, hands)
            if not self._by_gesture and not self._arm.engaged and self._arm.hand is not None:
                self._arm.engage(now)
