"""A robot with a USB camera: its model, the camera's driver, the hands and, if requested, rviz.

    ros2 launch usb_camera.launch.py video_device:=/dev/video0 camera_info_url:=file:///home/me/camera.yaml rviz:=true

Needs the packages robot_state_publisher and v4l2_camera (or usb_cam). Copy this file and camera_on_robot.urdf into your
own bringup package and put the pose of your camera into the URDF.
"""

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

URDF = Path(__file__).with_name("camera_on_robot.urdf")
OPTICAL_FRAME = "camera_optical_frame"
CAMERA = "camera"
"""Namespace of the driver's topics image_raw and camera_info."""


def is_chosen(driver: str) -> IfCondition:
    return IfCondition(PythonExpression(["'", LaunchConfiguration("driver"), f"' == '{driver}'"]))


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument("driver", default_value="v4l2_camera", choices=["v4l2_camera", "usb_cam", "none"]),
        DeclareLaunchArgument("video_device", default_value="/dev/video0"),
        DeclareLaunchArgument("camera_info_url", default_value="", description="URL of the calibration, file:///..."),
        DeclareLaunchArgument("rviz", default_value="false"),
    ]
    robot = Node(
        package="robot_state_publisher",
        executable="robot_state_publisher",
        parameters=[{"robot_description": ParameterValue(URDF.read_text(), value_type=str)}],
    )
    # The parameter of the frame has another name in each driver.
    common = {
        "video_device": LaunchConfiguration("video_device"),
        "camera_info_url": LaunchConfiguration("camera_info_url"),
    }
    v4l2_camera = Node(
        package="v4l2_camera",
        executable="v4l2_camera_node",
        namespace=CAMERA,
        parameters=[{**common, "camera_frame_id": OPTICAL_FRAME, "image_size": [1280, 720]}],
        condition=is_chosen("v4l2_camera"),
    )
    usb_cam = Node(
        package="usb_cam",
        executable="usb_cam_node_exe",
        namespace=CAMERA,
        parameters=[{**common, "frame_id": OPTICAL_FRAME, "image_width": 1280, "image_height": 720}],
        condition=is_chosen("usb_cam"),
    )
    hands = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("wildhands_ros"), "launch", "wildhands.launch.py"])
        ),
        launch_arguments={
            "image": f"/{CAMERA}/image_raw",
            "camera_info": f"/{CAMERA}/camera_info",
            "rviz": LaunchConfiguration("rviz"),
            "fixed_frame": "base_link",
        }.items(),
    )
    return LaunchDescription([*arguments, robot, v4l2_camera, usb_cam, hands])
