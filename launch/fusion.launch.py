"""Starts wildhands_fusion, which fuses the hands of several cameras (see wildhands_multi.launch.py)."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Name, default, description.
ARGUMENTS = [
    ("cameras", "left,right", "Names of the cameras, separated by commas: hands arrive on <camera>/hands."),
    ("frame", "", "TF frame in which hands are published. Empty: that of the extrinsics, or of the first camera."),
    ("extrinsics", "", "File with the poses of the cameras. Empty: they are looked up in TF."),
    ("use_sim_time", "false", "Whether the time comes from /clock, as of a simulation or a bag: true or false."),
    ("respawn", "false", "Whether the node is started again if it has ended: true or false."),
    ("log_level", "info", "Least severity of the node's log messages: debug, info, warn, error or fatal."),
]
RESPAWN_DELAY = 2.0
"""Seconds before the node is started again."""


def boolean(context: LaunchContext, name: str) -> bool:
    text = LaunchConfiguration(name).perform(context)
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"launch argument {name}:={text}: it must be true or false")
    return text.lower() in ("true", "1")


def fusion_node(context: LaunchContext) -> list[Node]:
    values = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    parameters: dict[str, object] = {
        "cameras": [name.strip() for name in values["cameras"].split(",") if name.strip()],
        "frame": values["frame"],
        "extrinsics": values["extrinsics"],
        "use_sim_time": boolean(context, "use_sim_time"),
    }
    node = Node(
        package="wildhands_ros",
        executable="wildhands_fusion",
        parameters=[parameters],
        respawn=boolean(context, "respawn"),
        respawn_delay=RESPAWN_DELAY,
        ros_arguments=["--log-level", values["log_level"]],
        output="screen",
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=fusion_node)])
