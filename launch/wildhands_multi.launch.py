"""Starts a WildHands node for each of several cameras, in the camera's namespace and with its own tf_prefix."""

import re

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from wildhands_ros.runtime.cores import divided_cores

# Name, default, description.
ARGUMENTS = [
    (
        "cameras",
        "",
        "Namespaces of the cameras, separated by commas, such as left,right; also used as prefixes of the TF frames.",
    ),
    ("image", "image_raw", "Topic of the images within the namespace of each camera."),
    ("camera_info", "camera_info", "Topic of CameraInfo within the namespace of each camera."),
    (
        "params_file",
        PathJoinSubstitution([FindPackageShare("wildhands_ros"), "config", "wildhands.yaml"]),
        "Parameter file for all nodes; the key /<camera>/wildhands can hold parameters of a single camera.",
    ),
    ("use_sim_time", "false", "Whether the time comes from /clock, as of a simulation or a bag: true or false."),
    ("respawn", "false", "Whether a node is started again if it has ended: true or false."),
    (
        "divide_cores",
        "true",
        "Whether the nodes divide the cores of the machine among themselves, which takes less processor time: "
        "true or false.",
    ),
    ("log_level", "info", "Least severity of the nodes' log messages: debug, info, warn, error or fatal."),
]
RESPAWN_DELAY = 2.0
"""Seconds before a node is started again."""


def camera_names(text: str) -> list[str]:
    names = [name.strip().strip("/") for name in text.split(",") if name.strip()]
    invalid = [name for name in names if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name)]
    if not names or invalid or len(set(names)) < len(names):
        raise ValueError(f"launch argument cameras:={text}: expected distinct names such as left,right")
    return names


def boolean(context: LaunchContext, name: str) -> bool:
    text = LaunchConfiguration(name).perform(context)
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"launch argument {name}:={text}: it must be true or false")
    return text.lower() in ("true", "1")


def wildhands_node(context: LaunchContext, camera: str, cores: list[int]) -> Node:
    use_sim_time, respawn = (boolean(context, name) for name in ("use_sim_time", "respawn"))
    image, camera_info = (LaunchConfiguration(name).perform(context) for name in ("image", "camera_info"))
    return Node(
        package="wildhands_ros",
        executable="wildhands_node",
        namespace=camera,
        parameters=[
            LaunchConfiguration("params_file"),
            {"tf_prefix": f"{camera.replace('/', '_')}_", **({"use_sim_time": True} if use_sim_time else {})},
        ],
        remappings=[("image", image), ("image/compressed", f"{image}/compressed"), ("camera_info", camera_info)],
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        prefix=f"taskset --cpu-list {','.join(map(str, cores))}" if cores else None,
        output="screen",
    )


def wildhands_nodes(context: LaunchContext) -> list[Node]:
    cameras = camera_names(LaunchConfiguration("cameras").perform(context))
    divide = len(cameras) > 1 and boolean(context, "divide_cores")
    return [
        wildhands_node(context, camera, divided_cores(i, len(cameras)) if divide else [])
        for i, camera in enumerate(cameras)
    ]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=wildhands_nodes)])
