"""Teleoperation from a camera in one process, and LeRobot's teleoperator plugin that uses it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_overlay import CAMERA, posed

from wildhands_ros.geometry.pose import Pose
from wildhands_ros.io.sources import Frame
from wildhands_ros.teleop.arm import ArmConfig
from wildhands_ros.teleop.follower import FollowerConfig
from wildhands_ros.teleop.live_arm import LiveArm
from wildhands_ros.types import FrameEstimate, Side

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "integrations" / "lerobot"
LEROBOT = ROOT / ".venv-lerobot" / "bin" / "python"
CLIP, CALIBRATION = ROOT / "demo" / "clip.mp4", ROOT / "demo" / "camera_info.yaml"
FORWARD = Pose(Rotation.from_quat((-0.5, 0.5, -0.5, 0.5)).as_matrix(), np.zeros(3))
"""A camera that looks along x of the robot, z up."""
FAST = FollowerConfig(max_speed=5.0, max_rotation_speed=20.0, ramp=0.0, watchdog=1.0)


def frames_at(places):
    """Yields a frame for each place of the hand; it waits for the caller, so that no frame is skipped."""
    for number, place in enumerate(places):
        yield Frame(np.zeros((8, 8, 3), np.uint8), str(place), number / 30)


def seen(places):
    """Returns an estimator that sees a right hand at the place of each frame, or none at None."""

    def estimate(frame: Frame) -> FrameEstimate:
        time.sleep(0.02)
        place = places[round(frame.stamp * 30)]
        return FrameEstimate(() if place is None else (posed(Side.RIGHT, place),), CAMERA)

    return estimate


def wait_for(condition):
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("not reached")


def test_commands_are_the_motion_of_the_hand_in_the_frame_of_the_robot():
    places = [None] * 3 + [(0.0, 0.0, 0.5)] * 3000
    live = LiveArm(frames_at(places), seen(places), ArmConfig(Side.RIGHT, FAST), FORWARD)
    assert live.command() is None and not live.running
    live.start()
    wait_for(lambda: live.command() is not None)
    assert np.linalg.norm(live.command().pose.position) < 0.02  # it begins at the identity
    # Forward in the camera is x of the robot, to the right -y.
    goal = np.array([0.1, -0.05, 0.0])
    places[:] = [(0.05, 0.0, 0.6)] * len(places)
    wait_for(lambda: live.running and np.linalg.norm(live.command().pose.position - goal) < 1e-3)
    live.close()
    assert not live.running


def test_an_error_of_the_camera_reaches_the_caller():
    def broken(frame: Frame) -> FrameEstimate:
        raise OSError("unplugged")

    live = LiveArm(frames_at([None]), broken, ArmConfig(Side.RIGHT), FORWARD)
    live.start()
    wait_for(lambda: not live.running)
    with pytest.raises(RuntimeError, match="the camera of the hands has failed: unplugged"):
        live.command()


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """The plugin with stand-ins for the two classes of LeRobot that it extends."""

    @dataclass(kw_only=True)
    class TeleoperatorConfig:
        id: str | None = None
        calibration_dir: Path | None = None

        @classmethod
        def register_subclass(cls, name):
            registered.append(name)
            return lambda subclass: subclass

    class Teleoperator:
        def __init__(self, config):
            self.id = config.id

    registered: list[str] = []
    for name, value in (("config", TeleoperatorConfig), ("teleoperator", Teleoperator)):
        module = ModuleType(f"lerobot.teleoperators.{name}")
        setattr(module, value.__name__, value)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("lerobot", "lerobot.teleoperators"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.syspath_prepend(str(PLUGIN))
    for name in [name for name in sys.modules if name.startswith("lerobot_teleoperator_wildhands")]:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("lerobot_teleoperator_wildhands")
    assert registered == ["wildhands"]
    yield module


def test_the_plugin_follows_the_demo_clip(plugin, monkeypatch):
    # On a slow machine, images come less often than the watchdog demands.
    patient = partial(FollowerConfig, watchdog=10.0, resume=60.0)
    monkeypatch.setattr(sys.modules[plugin.WildHands.__module__], "FollowerConfig", patient)
    config = plugin.WildHandsConfig(camera=str(CLIP), calibration=CALIBRATION, clutch="always", max_speed=5.0)
    hand = plugin.WildHands(config)
    nothing = dict.fromkeys(hand.action_features, 0.0)
    with pytest.raises(ConnectionError):
        hand.get_action()
    hand.connect()
    try:
        assert hand.get_action() == nothing
        actions = []
        wait_for(lambda: actions.append(hand.get_action()) or abs(actions[-1]["target_z"]) > 0.01)
        assert hand.is_connected and hand.status
        assert all(action.keys() == hand.action_features.keys() for action in actions)
        assert actions[-1]["enabled"] == 1.0 and actions[-1]["gripper_vel"] in (-1.0, 0.0, 1.0)
    finally:
        hand.disconnect()
    assert not hand.is_connected


def test_the_plugin_refuses_an_unknown_clutch(plugin):
    with pytest.raises(ValueError, match="curl, other_hand, always"):
        plugin.WildHands(plugin.WildHandsConfig(clutch="pedal"))


@pytest.mark.skipif(not LEROBOT.exists(), reason="make lerobot has not been run")
def test_the_record_loop_of_lerobot_records_the_hand(tmp_path):
    options = {"type": "wildhands", "camera": CLIP, "calibration": CALIBRATION, "clutch": "always"}
    arguments = [f"--teleop.{name}={value}" for name, value in options.items()]
    script = Path(__file__).with_name("lerobot_record_loop.py")
    command = [LEROBOT, script, tmp_path / "dataset", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    recorded = json.loads(run.stdout.splitlines()[-1])
    assert recorded["task"] == "wave" and 5 <= recorded["frames"] <= 20 and recorded["enabled"] > 0.5
    assert recorded["names"][:4] == ["enabled", "target_x", "target_y", "target_z"] and any(recorded["last"])
