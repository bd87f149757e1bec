"""Two USB cameras in one namespace: drivers, hands of each camera, and the frames of both.

    ros2 launch two_cameras.launch.py left_device:=/dev/video0 right_device:=/dev/video2

Needs the packages robot_state_publisher and v4l2_camera. The hands are on /cell/left/hands and /cell/right/hands, and
their frames in TF are left_right_wrist, right_right_wrist ...
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

URDF = Path(__file__).with_name("two_cameras.urdf")
NAMESPACE = "cell"
CAMERAS = {"left": "/dev/video0", "right": "/dev/video2"}
"""Names of the cameras, which are also their namespaces, and their default devices."""


def driver(camera: str) -> Node:
    parameters = {
        "video_device": LaunchConfiguration(f"{camera}_device"),
        "camera_info_url": LaunchConfiguration(f"{camera}_camera_info_url"),
        "camera_frame_id": f"{camera}_optical_frame",
    }
    return Node(package="v4l2_camera", executable="v4l2_camera_node", namespace=camera, parameters=[parameters])


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(f"{camera}_device", default_value=device) for camera, device in CAMERAS.items()
    ] + [DeclareLaunchArgument(f"{camera}_camera_info_url", default_value="") for camera in CAMERAS]
    frames = Node(
        package="robot_state_publisher",
        executable="robot_state_publisher",
        parameters=[{"robot_description": ParameterValue(URDF.read_text(), value_type=str)}],
    )
    hands = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("wildhands_ros"), "launch", "wildhands_multi.launch.py"])
        ),
        launch_arguments={"cameras": ",".join(CAMERAS)}.items(),
    )
    cell = GroupAction([PushRosNamespace(NAMESPACE), frames, *map(driver, CAMERAS), hands])
    return LaunchDescription([*arguments, cell])
