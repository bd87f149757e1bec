"""Records a camera with its hands by rosbag2 into MCAP, with the services that mark episodes."""

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
    ("image", "image/compressed", "Topic of the pictures to record."),
    ("camera_info", "camera_info", "Topic of the camera's calibration."),
    ("hands", "hands", "Topic of the hands; with it its mesh_topology is recorded."),
    ("topics", "", "More topics, separated by spaces, such as those of the robot."),
    ("output", "", "Folder of the bag; empty: rosbag2's own choice, the time."),
    ("cache", "268435456", "Bytes that may wait for the disk before messages are dropped."),
    (
        "image_reliability",
        "",
        "reliable or best_effort; empty: what the camera offers. reliable loses least where the camera offers it.",
    ),
]

KEEP = {"history": "keep_last", "depth": 200}
RELIABLE = {**KEEP, "reliability": "reliable", "durability": "volatile"}
LATCHED = {**RELIABLE, "durability": "transient_local"}


def qos_overrides(image: str, camera_info: str, hands: str, image_reliability: str) -> dict[str, dict]:
    """By topic; what is not named here takes what its publishers offer."""
    overrides = {absolute(hands): RELIABLE, absolute(f"{hands}/mesh_topology"): LATCHED, "/episodes": LATCHED}
    if image_reliability:
        if image_reliability not in ("reliable", "best_effort"):
            raise ValueError(f"image_reliability:={image_reliability}: it must be reliable or best_effort")
        overrides[absolute(image)] = overrides[absolute(camera_info)] = {**RELIABLE, "reliability": image_reliability}
    return overrides


def absolute(topic: str) -> str:
    return topic if topic.startswith("/") else f"/{topic}"


def recorder(context: LaunchContext) -> list[ExecuteProcess]:
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides = qos_overrides(given["image"], given["camera_info"], given["hands"], given["image_reliability"])
    file = Path(tempfile.mkdtemp(prefix="wildhands_record_"), "qos.yaml")
    file.write_text(yaml.safe_dump(overrides))
    topics = [
        given["image"],
        given["camera_info"],
        given["hands"],
        f"{given['hands']}/mesh_topology",
        "episodes",
        *given["topics"].split(),
    ]
    command = [
        "ros2",
        "bag",
        "record",
        "--storage",
        "mcap",
        "--max-cache-size",
        given["cache"],
        "--qos-profile-overrides-path",
        str(file),
    ]
    command += ["--output", given["output"]] if given["output"] else []
    # Until Jazzy the topics came without a word before them.
    word = [] if os.environ.get("ROS_DISTRO") in ("humble", "iron") else ["--topics"]
    return [ExecuteProcess(cmd=[*command, *word, *map(absolute, topics)], output="screen", on_exit=Shutdown())]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    episodes = Node(package="wildhands_ros", executable="wildhands_episodes", output="screen")
    return LaunchDescription([*arguments, episodes, OpaqueFunction(function=recorder)])
