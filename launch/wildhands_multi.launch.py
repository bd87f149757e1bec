"""Starts a WildHands node for each of several cameras, in the camera's namespace and with its own tf_prefix."""

from collections.abc import Sequence

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from wildhands_ros.ros.camera_names import camera_names, frame_prefix
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
        "one_process",
        "false",
        "Whether one process (wildhands_cameras) runs all nodes, which then share the networks: less memory, but a "
        "crash ends all of them: true or false.",
    ),
    (
        "divide_cores",
        "true",
        "Whether nodes with processes of their own divide the cores of the machine among themselves, which takes less "
        "processor time: true or false.",
    ),
    ("log_level", "info", "Least severity of the nodes' log messages: debug, info, warn, error or fatal."),
]
RESPAWN_DELAY = 2.0
"""Seconds before a node is started again."""


def named_cameras(text: str) -> list[str]:
    try:
        return camera_names(text.split(","))
    except ValueError as error:
        raise ValueError(f"launch argument cameras:={text}: {error}") from error


def boolean(context: LaunchContext, name: str) -> bool:
    text = LaunchConfiguration(name).perform(context)
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"launch argument {name}:={text}: it must be true or false")
    return text.lower() in ("true", "1")


def process(context: LaunchContext, executable: str, tf_prefix: str = "", cores: Sequence[int] = (), **options) -> Node:
    use_sim_time, respawn = (boolean(context, name) for name in ("use_sim_time", "respawn"))
    image, camera_info = (LaunchConfiguration(name).perform(context) for name in ("image", "camera_info"))
    own = {**({"tf_prefix": tf_prefix} if tf_prefix else {}), **({"use_sim_time": True} if use_sim_time else {})}
    return Node(
        package="wildhands_ros",
        executable=executable,
        parameters=[LaunchConfiguration("params_file"), *([own] if own else [])],
        remappings=[("image", image), ("image/compressed", f"{image}/compressed"), ("camera_info", camera_info)],
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        prefix=f"taskset --cpu-list {','.join(map(str, cores))}" if cores else None,
        output="screen",
        **options,
    )


def wildhands_nodes(context: LaunchContext) -> list[Node]:
    cameras = named_cameras(LaunchConfiguration("cameras").perform(context))
    if boolean(context, "one_process"):
        return [process(context, "wildhands_cameras", arguments=cameras)]
    divide = len(cameras) > 1 and boolean(context, "divide_cores")
    return [
        process(
            context,
            "wildhands_node",
            frame_prefix(camera),
            divided_cores(i, len(cameras)) if divide else [],
            namespace=camera,
        )
        for i, camera in enumerate(cameras)
    ]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=wildhands_nodes)])
