"""The simulated robot of `wildhands demo --robot` on the topics of wildhands_teleop, and the figures of that demo."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.pose import Pose

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")
pytest.importorskip("dex_retargeting")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from ros_graph import DOMAIN
from test_teleop_node import hands_at

from wildhands_ros.msg import HandArray
from wildhands_ros.ros.demo.robot import TELEOP_PARAMETERS, RobotNode
from wildhands_ros.ros.demo.robot_figures import Motion, describe, track
from wildhands_ros.ros.teleop.node import TeleopNode

pytestmark = pytest.mark.ros


def test_the_simulated_robot_follows_a_hand_over_dds():
    arguments = [word for name, value in TELEOP_PARAMETERS.items() for word in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", *arguments], domain_id=DOMAIN)
    robot, teleop = RobotNode(), TeleopNode()
    executor = SingleThreadedExecutor()
    for node in (robot, teleop):
        executor.add_node(node)
    try:
        publisher = robot.create_publisher(HandArray, "hands", 1)
        deadline, begun, due = time.monotonic() + 60, None, 0.0
        moved = 0.0
        while moved < 0.1 and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.01)
            if robot.is_connected() and time.monotonic() > due:
                due = time.monotonic() + 0.03
                begun = begun or due
                # To the right of the camera, which is -y of the robot; it is engaged meanwhile.
                publisher.publish(hands_at(0.1 * (due - begun), robot.get_clock().now().to_msg()))
            moved = robot.robot.home.position[1] - robot.robot.pose.position[1]
        assert moved >= 0.1 and robot.log.latencies and robot.log.hands
        assert any(told is not None for told in robot.log.motion.commanded)
        fingers = robot.robot.positions[7:]
        assert np.abs(fingers).max() > 0.05
    finally:
        executor.shutdown()
        for node in (robot, teleop):
            node.destroy_node()
        rclpy.try_shutdown()


def recorded(delay: float, error: float) -> tuple[Motion, list[int], dict]:
    """Returns a robot that moves like the labelled hand, later and with an error to alternating sides."""
    path = lambda at: np.array([0.1 * np.sin(2 * at), 0.05 * np.cos(3 * at), 0.5])  # noqa: E731
    stamps = [round(1e9 * (100 + number / 30)) for number in range(120)]
    labels = {
        "frames": [
            {"hands": [{"side": "left", "joints": [[0, 0, 0]]}, {"side": "right", "joints": [path(s / 1e9)]}]}
            for s in stamps
        ]
    }
    motion = Motion()
    for number in range(300):
        at = 100 + number / 50
        sign = (-1) ** (number // 3)
        told = Pose(np.eye(3), path(at - delay) + (0.3, 0.2, 0.1))
        reached = Pose(Rotation.from_rotvec((0, 0, 0.02)).as_matrix(), told.position + (0, 0, sign * error))
        motion.add(round(1e9 * at), reached, told if at > 100.5 else None)
    return motion, stamps, labels


def test_the_delay_of_the_robot_is_found_and_its_error_measured_without_it():
    motion, stamps, labels = recorded(delay=0.15, error=0.0)
    tracking = track(motion, stamps, labels, Pose.identity())
    assert tracking.delay == pytest.approx(0.15, abs=0.006)
    assert np.percentile(tracking.errors, 95) < 2e-3
    text = describe(motion, [0.06, 0.07, 0.3], stamps, labels, Pose.identity())
    assert "70 ms (95 %: 277)" in text and "3 images of 120" in text and "0.0 mm (95 %: 0.0)" in text
    assert re.search(r"1\.1 degrees", text) and re.search(r"15\d ms behind|145 ms behind", text)


def test_the_error_of_the_robot_against_its_commands_is_measured():
    motion, stamps, labels = recorded(delay=0.0, error=0.004)
    assert "4.0 mm (95 %: 4.0)" in describe(motion, [0.06], stamps, None, Pose.identity())
    assert track(Motion(), stamps, labels, Pose.identity()) is None
    assert track(motion, [], labels, Pose.identity()) is None
