"""Smoothing in the node: switched by its parameters, in the frame that TF gives."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from geometry_msgs.msg import TransformStamped
from ros_samples import header
from scipy.spatial.transform import Rotation

from wildhands_ros.ros import camera_motion
from wildhands_ros.ros.camera_motion import WAIT, CameraMotion, TransformPending, TransformUnavailable
from wildhands_ros.ros.parameters import Parameters

pytestmark = pytest.mark.ros


def test_parameters_set_the_filter():
    config = Parameters(smoothing__min_cutoff=1.0, smoothing__max_cutoff=4.0).smoothing
    assert (config.position.rest, config.position.most, config.rotation.most) == (1.0, 4.0, 2.0)
    assert Parameters(smoothing__enabled=False).smoothing is None
    assert Parameters().estimator.smoothing == Parameters().smoothing


def test_without_tf2_every_lookup_fails_with_the_reason(monkeypatch):
    monkeypatch.setattr(camera_motion, "tf2_ros", None)
    motion = CameraMotion(None, "odom")
    assert not motion.is_available()
    with pytest.raises(TransformUnavailable, match="tf2_ros is not installed"):
        motion.pose(header())
    motion.clear()
    motion.close()


def test_camera_pose_comes_from_tf():
    pytest.importorskip("tf2_ros", reason="comes with a ROS distribution")
    rclpy.init()
    node = rclpy.create_node("smoothing_test")
    try:
        motion, image = CameraMotion(node, "odom"), header()
        with pytest.raises(LookupError, match="odom"):
            motion.pose(image)
        turn = Rotation.from_rotvec([0.1, -0.4, 0.7])
        way = TransformStamped(header=header(), child_frame_id=image.frame_id)
        way.header.frame_id = "odom"
        way.transform.translation.x, way.transform.translation.z = 1.5, -0.5
        q = way.transform.rotation
        q.x, q.y, q.z, q.w = turn.as_quat()
        motion.buffer.set_transform(way, "test")
        pose = motion.pose(image)
        np.testing.assert_allclose(pose.rotation, turn.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(pose.position, (1.5, 0, -0.5))
        # With a slash from ROS 1, tf2 would refuse the frame (github.com/cra-ros-pkg/robot_localization/issues/450).
        slashed = header()
        slashed.frame_id = f"/{image.frame_id}"
        assert motion.pose(slashed).position[0] == 1.5
        slashed.frame_id = ""  # github.com/christianrauch/apriltag_ros/issues/57
        with pytest.raises(LookupError, match="images have no frame_id"):
            motion.pose(slashed)
        # After a jump of the clock, which tf2 does not notice in Python (github.com/ros2/geometry2/issues/606).
        motion.clear()
        with pytest.raises(LookupError, match="odom"):
            motion.pose(image)
        motion.close()
    finally:
        node.destroy_node()
        rclpy.shutdown()


class LateMotion(CameraMotion):
    """TF that covers the time of the image only after some attempts."""

    def __init__(self, attempts: float):
        self._wait_again = 0.0
        self.attempts, self._needed = 0, attempts

    def pose(self, header):
        self.attempts += 1
        if self.attempts < self._needed:
            raise TransformPending("not yet")
        return "pose"


def test_an_image_waits_for_tf_that_arrives_a_little_later():
    assert LateMotion(2).wait_for_pose(header()) == "pose"


def test_the_wait_for_tf_is_bounded_and_not_repeated_for_every_image(monkeypatch):
    monkeypatch.setattr(camera_motion, "RETRY", 3600)
    motion, start = LateMotion(np.inf), time.monotonic()
    with pytest.raises(TransformPending):
        motion.wait_for_pose(header())
    assert time.monotonic() - start >= WAIT
    before = motion.attempts
    for _ in range(20):
        with pytest.raises(TransformPending):
            motion.wait_for_pose(header())
    assert motion.attempts == before + 20


def test_the_wait_for_tf_ends_with_the_stream():
    stopped = threading.Event()
    stopped.set()
    motion = LateMotion(np.inf)
    with pytest.raises(TransformPending):
        motion.wait_for_pose(header(), stopped.is_set)
    assert motion.attempts == 1
