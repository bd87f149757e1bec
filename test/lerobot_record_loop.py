"""Runs LeRobot's own record loop with the plugin of integrations/lerobot; run by test_live_arm.py in .venv-lerobot.

    python lerobot_record_loop.py NEW_FOLDER --teleop.type=wildhands --teleop.camera=clip.mp4 ...

The robot does nothing and reports the last action. The last line of the output is what the dataset contains, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass

import draccus
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import hw_to_dataset_features
from lerobot.processor import make_default_processors
from lerobot.robots.config import RobotConfig
from lerobot.robots.robot import Robot
from lerobot.scripts.lerobot_record import record_loop
from lerobot.teleoperators import TeleoperatorConfig, make_teleoperator_from_config
from lerobot.utils.import_utils import register_third_party_plugins

FPS, SECONDS, START_TIMEOUT = 10, 2, 60.0


@dataclass
class Settings:
    """The part of the settings of lerobot-record that is needed here."""

    teleop: TeleoperatorConfig


@RobotConfig.register_subclass("still")
@dataclass(kw_only=True)
class StillConfig(RobotConfig):
    """Configuration of the robot that does nothing."""


class Still(Robot):
    """A robot that does nothing and reports the last action."""

    config_class, name = StillConfig, "still"
    is_connected = is_calibrated = True

    def __init__(self, features: dict[str, type]):
        super().__init__(StillConfig())
        self.action_features = self.observation_features = features
        self._last = dict.fromkeys(features, 0.0)

    def get_observation(self):
        return dict(self._last)

    def send_action(self, action):
        self._last = dict(action)
        return action

    def connect(self, calibrate=True): ...

    def calibrate(self): ...

    def configure(self): ...

    def disconnect(self): ...


# The features of a robot are abstract properties; here they are attributes.
Still.__abstractmethods__ = frozenset()
Still.action_features = Still.observation_features = None


def main() -> None:
    folder, *arguments = sys.argv[1:]
    register_third_party_plugins()
    hand = make_teleoperator_from_config(draccus.parse(Settings, args=arguments).teleop)
    robot = Still(hand.action_features)
    features = {
        **hw_to_dataset_features(hand.action_features, "action"),
        **hw_to_dataset_features(robot.observation_features, "observation"),
    }
    dataset = LeRobotDataset.create("me/test", FPS, features, root=folder, robot_type="still", use_videos=False)
    hand.connect()
    deadline = time.monotonic() + START_TIMEOUT
    while not hand.get_action()["enabled"] and time.monotonic() < deadline:
        time.sleep(0.01)
    record_loop(
        robot, {"exit_early": False}, FPS, *make_default_processors(), dataset=dataset, teleop=hand,
        control_time_s=SECONDS, single_task="wave",
    )  # fmt: skip
    hand.disconnect()
    dataset.save_episode()
    dataset.finalize()
    loaded = LeRobotDataset("me/test", root=folder)
    actions = np.stack([frame["action"].numpy() for frame in loaded])
    names = loaded.features["action"]["names"]
    print(json.dumps({"frames": len(loaded), "names": names, "task": loaded[0]["task"], "last": actions[-1].tolist(),
                      "enabled": float(actions[:, names.index("enabled")].mean())}))  # fmt: skip


if __name__ == "__main__":
    main()
