"""Injects each fault in docs/faults.md into the real node, over DDS and with a fake estimator."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from live_node import FakeEstimator, LiveNode
from rclpy.executors import SingleThreadedExecutor
from ros_graph import DOMAIN, ENVIRONMENT

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.ros.soak.faults import FAULTS
from wildhands_ros.ros.soak.loads import LOADS
from wildhands_ros.ros.soak.node import FaultyEstimator
from wildhands_ros.ros.soak.robot import Robot

pytestmark = pytest.mark.ros

CAMERA = Camera(np.array([[90.0, 0, 80], [0, 90, 60], [0, 0, 1]]), 160, 120)


@pytest.fixture(scope="module")
def node():
    os.environ.update(ENVIRONMENT)
    live = LiveNode("/faulty", lambda parameters: FaultyEstimator(FakeEstimator()))
    yield live
    live.close()


@pytest.fixture(scope="module")
def robot(node):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    executor = SingleThreadedExecutor(context=context)
    helper = rclpy.create_node("robot", context=context)
    executor.add_node(helper)
    images = [np.full((CAMERA.height, CAMERA.width, 3), grey, np.uint8) for grey in (80, 120)]
    robot = Robot(helper, executor, "/faulty", images, CAMERA)
    yield robot
    robot.close()
    helper.destroy_node()
    rclpy.shutdown(context=context)


def wait_for_hands(robot: Robot) -> None:
    before = robot.hands_received
    assert robot.spin(lambda: robot.hands_received > before + 3, 120), robot.diagnostics


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_visible_in_diagnostics_and_the_node_recovers(node, robot, name):
    fault = FAULTS[name]
    wait_for_hands(robot)
    before = robot.count(fault.shows)
    fault.begin(robot)
    assert robot.spin(lambda: fault.seen(robot, before), 120), robot.diagnostics
    if fault.shows.startswith("rejected: ") and not robot.out_of_order and name != "incompatible_qos":
        robot.spin(lambda: False, 0.2)  # what was published before arrives
        received = robot.hands_received
        robot.spin(lambda: False, 0.2)
        assert robot.hands_received <= received + 1, "nothing is published for rejected images"
    fault.end(robot)
    robot.heal()
    wait_for_hands(robot)
    assert robot.last_hands.header.frame_id == "camera_optical"
    assert robot.last_hands.k.reshape(3, 3) == pytest.approx(CAMERA.k)
    assert robot.last_hands.height == CAMERA.height
    assert node.error is None


def test_images_out_of_order_are_also_seen_by_a_node_that_takes_long_for_each(robot, monkeypatch):
    def slow(self, *arguments, **options):
        time.sleep(1.1)  # longer than any image may be late
        return estimate(self, *arguments, **options)

    estimate = FakeEstimator.__call__
    fault = FAULTS["out_of_order"]
    wait_for_hands(robot)
    before, resets = robot.count(fault.shows), robot.count("resets: clock_jumped_back")
    monkeypatch.setattr(FakeEstimator, "__call__", slow)
    robot.spin(lambda: False, 0.2)  # the node works on an image that is in order
    fault.begin(robot)
    assert robot.spin(lambda: fault.seen(robot, before), 120), robot.diagnostics
    monkeypatch.undo()
    robot.heal()
    wait_for_hands(robot)
    assert robot.count("resets: clock_jumped_back") == resets


@pytest.mark.parametrize("name", LOADS)
def test_hands_go_on_under_load(node, robot, name):
    wait_for_hands(robot)
    assert LOADS[name].apply(robot, 1.0), robot.diagnostics
    robot.heal()
    robot.rate = 30.0
    wait_for_hands(robot)
    # Images of the load may still be on their way.
    assert robot.spin(lambda: robot.last_hands.height == CAMERA.height, 120)
    assert node.error is None


def test_new_streams_reset_all_tracks(node, robot):
    wait_for_hands(robot)
    for name in ("clock_back", "camera_swap", "other_size"):
        resets = node.estimator.resets
        FAULTS[name].begin(robot)
        assert robot.spin(lambda resets=resets: node.estimator.resets > resets, 120)
        robot.heal()
        wait_for_hands(robot)
