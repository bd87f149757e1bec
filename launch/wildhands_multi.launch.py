"""Several cameras: a WildHands node for each, in the camera's namespace and with its own prefix of TF frames."""

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
        "Namespaces of the cameras, separated by commas, such as left,right; also the prefixes of their TF frames.",
    ),
    ("image", "image_raw", "Topic of each camera's images within its namespace."),
    ("camera_info", "camera_info", "Topic of each camera's calibration within its namespace."),
    (
        "params_file",
        PathJoinSubstitution([FindPackageShare("wildhands_ros"), "config", "wildhands.yaml"]),
        "Parameter file for all nodes; under /<camera>/wildhands: it can hold what is one camera's own.",
    ),
]


def camera_names(text: str) -> list[str]:
    names = [name.strip().strip("/") for name in text.split(",") if name.strip()]
    wrong = [name for name in names if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name)]
    if not names or wrong or len(set(names)) < len(names):
        raise ValueError(f"launch argument cameras:={text}: expected different names such as left,right")
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
