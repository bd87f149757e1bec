"""Smoothing in the node: switched by its parameters, in the frame that TF gives."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from geometry_msgs.msg import TransformStamped
from ros_samples import header
from scipy.spatial.transform import Rotation
from test_smoothing import HANDS, frame, hand_of, mano

from wildhands_ros.ros import smoothing
from wildhands_ros.ros.diagnostics import Health
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.ros.smoothing import CameraMotion, StreamSmoother

pytestmark = pytest.mark.ros


def smoother(node=None, **values):
    said = []
    return StreamSmoother(node, Parameters(**values), HANDS, Health(said.append)), said


def moved(result, given) -> bool:
    return np.abs(result.hands[0].joints - given.joints).max() > 1e-6


def test_parameters_set_the_filter():
    rng = np.random.default_rng(0)
    hands = [hand_of(mano(rng, 0.1)) for _ in range(2)]
    lags = []
    for cutoff in (1.0, 8.0):
        stream, said = smoother(smoothing__min_cutoff=cutoff, smoothing__max_cutoff=cutoff)
        stream(frame(hands[0]), 1.0, header())
        (hand,) = stream(frame(hands[1]), 1.03, header()).hands
        lags.append(np.linalg.norm(hand.joints - hands[1].joints, axis=-1).max())
        stream.close()
    assert 0 < lags[1] < 0.7 * lags[0] and not said


def test_a_reset_starts_anew():
    rng, (stream, _) = np.random.default_rng(1), smoother()
    first, second, third = (hand_of(mano(rng, 0.1)) for _ in range(3))
    stream(frame(first), 1.0, header())
    assert moved(stream(frame(second), 1.03, header()), second)
    stream.reset()
    assert not moved(stream(frame(third), 1.06, header()), third)


def test_without_tf_it_is_said_and_the_camera_counts_as_at_rest(monkeypatch):
    monkeypatch.setattr(smoothing, "tf2_ros", None)
    rng, (stream, said) = np.random.default_rng(2), smoother(smoothing__frame="odom")
    first, second = (hand_of(mano(rng, 0.1)) for _ in range(2))
    stream(frame(first), 1.0, header())
    assert moved(stream(frame(second), 1.03, header()), second)
    assert len(said) == 1 and "tf2_ros" in said[0] and "at rest" in said[0]
    stream.close()


def test_the_cameras_pose_comes_from_tf():
    pytest.importorskip("tf2_ros", reason="comes with a ROS distribution")
    rclpy.init()
    node = rclpy.create_node("smoothing_test")
    try:
        motion, image = CameraMotion(node, "odom"), header()
        with pytest.raises(LookupError, match="odom"):
            motion(image)
        turn = Rotation.from_rotvec([0.1, -0.4, 0.7])
        way = TransformStamped(header=header(), child_frame_id=image.frame_id)
        way.header.frame_id = "odom"
        way.transform.translation.x, way.transform.translation.z = 1.5, -0.5
        q = way.transform.rotation
        q.x, q.y, q.z, q.w = turn.as_quat()
        motion._buffer.set_transform(way, "test")
        pose = motion(image)
        np.testing.assert_allclose(pose.rotation, turn.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(pose.position, (1.5, 0, -0.5))
        motion.forget()
        with pytest.raises(LookupError, match="odom"):
            motion(image)
        motion.close()
    finally:
        node.destroy_node()
        rclpy.shutdown()
