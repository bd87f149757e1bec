"""Starts a WildHands node for each of several cameras, in the camera's namespace and with its own tf_prefix."""

import re

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

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
]


def camera_names(text: str) -> list[str]:
    names = [name.strip().strip("/") for name in text.split(",") if name.strip()]
    invalid = [name for name in names if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name)]
    if not names or invalid or len(set(names)) < len(names):
        raise ValueError(f"launch argument cameras:={text}: expected distinct names such as left,right")
    return names


def wildhands_node(context: LaunchContext, camera: str) -> Node:
    image, camera_info = (LaunchConfiguration(name).perform(context) for name in ("image", "camera_info"))
    return Node(
        package="wildhands_ros",
        executable="wildhands_node",
        namespace=camera,
        parameters=[LaunchConfiguration("params_file"), {"tf_prefix": f"{camera.replace('/', '_')}_"}],
        remappings=[("image", image), ("image/compressed", f"{image}/compressed"), ("camera_info", camera_info)],
        output="screen",
    )


def wildhands_nodes(context: LaunchContext) -> list[Node]:
    return [wildhands_node(context, camera) for camera in camera_names(LaunchConfiguration("cameras").perform(context))]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=wildhands_nodes)])
