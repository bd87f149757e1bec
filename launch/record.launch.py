"""Records the images of a camera and their hands with rosbag2 (MCAP), and starts the services that mark episodes."""

import os
import tempfile
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Name, default, description.
ARGUMENTS = [
    ("image", "image/compressed", "Topic of the images to record."),
    ("camera_info", "camera_info", "Topic of the camera's CameraInfo."),
    ("hands", "hands", "Topic of the hands; its mesh_topology is recorded too."),
    ("topics", "", "Further topics to record, separated by spaces, such as those of the robot."),
    ("output", "", "Folder of the bag. Empty: rosbag2 names it after the current time."),
    (
        "cache",
        "268435456",
        "Size of the cache in bytes; if the disk is too slow and the cache is full, messages are dropped.",
    ),
    (
        "image_reliability",
        "",
        "Reliability of the image subscription: reliable or best_effort. Empty: that of the camera. reliable loses the "
        "fewest images, but the camera must offer it.",
    ),
]

KEEP = {"history": "keep_last", "depth": 200}
RELIABLE = {**KEEP, "reliability": "reliable", "durability": "volatile"}
LATCHED = {**RELIABLE, "durability": "transient_local"}


TEMPORARY: list[tempfile.TemporaryDirectory] = []
"""Removed when the launch process ends, with the recorder."""


def qos_overrides(image: str, camera_info: str, hands: str, image_reliability: str) -> dict[str, dict]:
    """Returns QoS overrides by topic. For all other topics rosbag2 adopts the QoS of the publishers."""
    overrides = {absolute(hands): RELIABLE, absolute(f"{hands}/mesh_topology"): LATCHED, "/episodes": LATCHED}
    if image_reliability:
        if image_reliability not in ("reliable", "best_effort"):
            raise ValueError(f"image_reliability:={image_reliability}: it must be reliable or best_effort")
        overrides[absolute(image)] = overrides[absolute(camera_info)] = {**RELIABLE, "reliability": image_reliability}
    return overrides


def absolute(topic: str) -> str:
    return topic if topic.startswith("/") else f"/{topic}"


def recorder(context: LaunchContext) -> list[ExecuteProcess]:
    values = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides = qos_overrides(values["image"], values["camera_info"], values["hands"], values["image_reliability"])
    TEMPORARY.append(tempfile.TemporaryDirectory(prefix="wildhands_record_"))
    file = Path(TEMPORARY[-1].name, "qos.yaml")
    file.write_text(yaml.safe_dump(overrides))
    topics = [
        values["image"],
        values["camera_info"],
        values["hands"],
        f"{values['hands']}/mesh_topology",
        "episodes",
        *values["topics"].split(),
    ]
    command = [
        "ros2",
        "bag",
        "record",
        "--storage",
        "mcap",
        "--max-cache-size",
        values["cache"],
        "--qos-profile-overrides-path",
        str(file),
    ]
    command += ["--output", values["output"]] if values["output"] else []
    # Before Jazzy, topics were positional arguments.
    option = [] if os.environ.get("ROS_DISTRO") in ("humble", "iron") else ["--topics"]
    return [ExecuteProcess(cmd=[*command, *option, *map(absolute, topics)], output="screen", on_exit=Shutdown())]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    episodes = Node(package="wildhands_ros", executable="wildhands_episodes", output="screen")
    return LaunchDescription([*arguments, episodes, OpaqueFunction(function=recorder)])
