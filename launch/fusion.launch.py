"""Starts wildhands_fusion, which fuses the hands of several cameras (see wildhands_multi.launch.py)."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

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


def given_parameters(context: LaunchContext) -> dict[str, list[str] | ParameterValue | bool]:
    names = [name.strip() for name in LaunchConfiguration("cameras").perform(context).split(",") if name.strip()]
    if not names:
        raise ValueError("launch argument cameras:=: it must name at least one camera")
    given: dict[str, list[str] | ParameterValue | bool] = {
        "cameras": names,
        "use_sim_time": boolean(context, "use_sim_time"),
    }
    for name in ("frame", "extrinsics"):
        if text := LaunchConfiguration(name).perform(context):
            given[name] = ParameterValue(text, value_type=str)  # launch would make a number of a frame like 0483
    return given


def fusion_node(context: LaunchContext) -> list[Node]:
    node = Node(
        package="wildhands_ros",
        executable="wildhands_fusion",
        parameters=[given_parameters(context)],
        respawn=boolean(context, "respawn"),
        respawn_delay=RESPAWN_DELAY,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=fusion_node)])
