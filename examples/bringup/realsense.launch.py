"""A robot with a RealSense camera: its model, the camera's driver, the hands and, if requested, rviz.

    ros2 launch realsense.launch.py rviz:=true

Needs the packages robot_state_publisher and realsense2_camera. The driver publishes the transforms from camera_link to
its optical frames, so of the URDF only the joint to camera_link counts.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

URDF = Path(__file__).with_name("camera_on_robot.urdf")
CAMERA = "/camera/camera"
"""The driver's default namespace and name."""


def include(package: str, *path: str, **arguments) -> IncludeLaunchDescription:
    file = PathJoinSubstitution([FindPackageShare(package), *path])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=arguments.items())


def generate_launch_description() -> LaunchDescription:
    rviz = DeclareLaunchArgument("rviz", default_value="false")
    robot = Node(
        package="robot_state_publisher",
        executable="robot_state_publisher",
        parameters=[{"robot_description": ParameterValue(URDF.read_text(), value_type=str)}],
    )
    driver = include("realsense2_camera", "launch", "rs_launch.py", enable_depth="false")
    hands = include(
        "wildhands_ros",
        "launch",
        "wildhands.launch.py",
        image=f"{CAMERA}/color/image_raw",
        camera_info=f"{CAMERA}/color/camera_info",
        rviz=LaunchConfiguration("rviz"),
        fixed_frame="base_link",
    )
    return LaunchDescription([rviz, robot, driver, hands])
