"""The WildHands node, and rviz where it is asked for."""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("wildhands_ros")

# Name, default, description.
ARGUMENTS = [
    (
        "image",
        "image",
        "Topic of the camera's images; with image_transport:=compressed its /compressed is listened to.",
    ),
    ("camera_info", "camera_info", "Topic of the camera's calibration."),
    (
        "detections",
        "detections",
        "Topic of an external detector (vision_msgs/Detection2DArray), for detector.type: topic or tracks.",
    ),
    (
        "params_file",
        PathJoinSubstitution([SHARE, "config", "wildhands.yaml"]),
        "Parameter file; the default one is the reference.",
    ),
    ("namespace", "", "Namespace of the node and of its topics."),
    ("rviz", "false", "Whether to open rviz with config/wildhands.rviz."),
    ("fixed_frame", "camera", "Frame that rviz shows things in: the images' frame, or any that TF connects with it."),
]


def boolean(text: str) -> bool:
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError("it must be true or false")
    return values[text.lower()]


# Parameters that can be given here; where they are not, the parameter file counts.
PARAMETERS = {
    "autostart": (boolean, "Parameter: false where a lifecycle manager configures and activates the node."),
    "image_transport": (str, "Parameter: raw or compressed."),
    "rectified": (boolean, "Parameter: true where the images are rectified."),
    "intrinsics": (str, "Parameter: camera_info, horizontal_fov or guess."),
    "horizontal_fov": (float, "Parameter: horizontal field of view in radians, for intrinsics:=horizontal_fov."),
    "checkpoint": (str, "Parameter: the network, auto, default, released, none or a path."),
    "hand_model": (str, "Parameter: auto, open, or a folder with MANO's files."),
    "hand_length": (float, "Parameter: wrist to middle fingertip of the user's stretched hand, in metres."),
    "detector.type": (str, "Parameter: who finds the hands: auto, own, mediapipe, topic or tracks."),
    "tf_prefix": (str, "Parameter: put before the names of the TF frames."),
}


def given_parameters(context: LaunchContext) -> dict[str, str | bool | float]:
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
            ("detections", LaunchConfiguration("detections")),
        ],
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
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=[
            "-d",
            PathJoinSubstitution([SHARE, "config", "wildhands.rviz"]),
            "-f",
            LaunchConfiguration("fixed_frame"),
        ],
        condition=IfCondition(LaunchConfiguration("rviz")),
        output="screen",
    )
    return LaunchDescription([*declared, OpaqueFunction(function=wildhands_node), rviz])
