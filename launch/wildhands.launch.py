"""Starts the WildHands node and, if requested, rviz."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

RESPAWN_DELAY = 2.0
"""Seconds before the node is started again."""
SHARE = FindPackageShare("wildhands_ros")

# Name, default, description.
ARGUMENTS = [
    (
        "image",
        "image",
        "Topic of the camera's images. With image_transport:=compressed the node subscribes to <image>/compressed.",
    ),
    ("camera_info", "camera_info", "Topic of the camera's CameraInfo."),
    (
        "depth",
        "depth",
        "Topic of the depth images, aligned or not. With depth_transport:=compressedDepth the node subscribes to "
        "<depth>/compressedDepth.",
    ),
    ("depth_camera_info", "depth_camera_info", "Topic of the depth camera's CameraInfo."),
    (
        "detections",
        "detections",
        "Topic of external detections (vision_msgs/Detection2DArray), for detector.type: topic or tracks.",
    ),
    (
        "params_file",
        PathJoinSubstitution([SHARE, "config", "wildhands.yaml"]),
        "Parameter file. The default one documents all parameters.",
    ),
    ("namespace", "", "Namespace of the node and of its topics."),
    (
        "respawn",
        "false",
        "Whether the node is started again if it has ended.",
    ),
    ("log_level", "info", "Least severity of the node's log messages: debug, info, warn, error or fatal."),
    ("rviz", "false", "Whether to open rviz with config/wildhands.rviz."),
    (
        "fixed_frame",
        "",
        "Fixed frame of rviz, such as one that TF connects with the frame of the images. Empty: the frame of the "
        "images, for which rviz waits until a CameraInfo or hands arrive, 15 s at most.",
    ),
]


def boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError("it must be true or false")
    return values[text.lower()]


def string(text: str) -> ParameterValue:
    # launch would make numbers of texts like 1e5 or 0483.
    return ParameterValue(text, value_type=str)


# Parameters that can be set as launch arguments; they override the parameter file.
PARAMETERS = {
    "use_sim_time": (boolean, "Parameter: whether the time comes from /clock, as of a simulation or a bag."),
    "autostart": (boolean, "Parameter: whether the node activates itself; false if a lifecycle manager does it."),
    "image_transport": (string, "Parameter: image transport: raw or compressed."),
    "depth_transport": (string, "Parameter: transport of the depth images: raw or compressedDepth."),
    "depth_sensor": (string, "Parameter: noise model of the depth camera: stereo or time_of_flight."),
    "rectified": (boolean, "Parameter: whether the images are rectified."),
    "intrinsics": (string, "Parameter: source of the camera intrinsics: camera_info, horizontal_fov or guess."),
    "horizontal_fov": (float, "Parameter: horizontal field of view in radians, for intrinsics:=horizontal_fov."),
    "checkpoint": (string, "Parameter: weights of the 3D network: auto, default, released, none or a path."),
    "hand_model": (string, "Parameter: hand model: auto, open, or a folder with MANO files."),
    "hand_length": (
        float,
        "Parameter: distance from wrist to middle fingertip of the user's stretched hand, in metres.",
    ),
    "detector.type": (string, "Parameter: hand detector: auto, own, mediapipe, topic or tracks."),
    "tf_prefix": (string, "Parameter: prefix of the names of the TF frames."),
}


def given_parameters(context: LaunchContext) -> dict[str, ParameterValue | bool | float]:
    given = {}
    for name, (kind, _) in PARAMETERS.items():
        if text := LaunchConfiguration(name).perform(context):
            try:
                given[name] = kind(text)
            except ValueError as error:
                raise ValueError(f"launch argument {name}:={text}: {error}") from error
    return given


def wildhands_node(context: LaunchContext) -> list[Node]:
    image = LaunchConfiguration("image")
    node = Node(
        package="wildhands_ros",
        executable="wildhands_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), given_parameters(context)],
        remappings=[
            ("image", image),
            ("image/compressed", [image, "/compressed"]),
            ("camera_info", LaunchConfiguration("camera_info")),
            ("depth", LaunchConfiguration("depth")),
            ("depth_camera_info", LaunchConfiguration("depth_camera_info")),
            ("detections", LaunchConfiguration("detections")),
        ],
        respawn=boolean(LaunchConfiguration("respawn").perform(context)),
        respawn_delay=RESPAWN_DELAY,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return [node]


def rviz(context: LaunchContext) -> list[Node]:
    frame = LaunchConfiguration("fixed_frame").perform(context)
    node = Node(
        # wildhands_rviz is rviz2 with the frame of the images.
        package="rviz2" if frame else "wildhands_ros",
        executable="rviz2" if frame else "wildhands_rviz",
        namespace=LaunchConfiguration("namespace"),
        arguments=[*(["-f", frame] if frame else []), "-d", PathJoinSubstitution([SHARE, "config", "wildhands.rviz"])],
        remappings=[("camera_info", LaunchConfiguration("camera_info"))],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="screen",
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    declared += [
        DeclareLaunchArgument(name, default_value="", description=text) for name, (_, text) in PARAMETERS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=wildhands_node), OpaqueFunction(function=rviz)])
