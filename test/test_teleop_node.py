"""The teleoperation node as a process, over real DDS."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped
from rclpy.time import Time
from ros_graph import Client, NodeProcess
from ros_samples import CAMERA, hand
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Header
from std_srvs.srv import SetBool

import wildhands_ros
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.msg import Hand, HandArray
from wildhands_ros.ros.messages import hand_array
from wildhands_ros.ros.teleop.messages import observation, pose
from wildhands_ros.structures import FrameEstimate, Side

GRIPPER = Path(wildhands_ros.__file__).parent / "teleop" / "robots" / "gripper.yaml"
RESUME = 4.0
MODULE = "wildhands_ros.ros.teleop.node"
START = dict(start__position="[0.4,0.0,0.3]", start__orientation="[0.0,0.0,0.0,1.0]")
CAMERA_POSE = dict(target_frame="base", camera__position="[-1.0,0.0,0.5]", camera__orientation="[-0.5,0.5,-0.5,0.5]")


def hands_at(x: float, now, side=Side.RIGHT) -> HandArray:
    estimate = hand(side, 1, reprojection_error=0.02)
    shift = np.array([x, 0.0, 0.5]) - estimate.wrist_position
    estimate.joints[:] += shift
    estimate = hand(side, 1, reprojection_error=0.02, joints=estimate.joints, wrist_position=estimate.joints[0])
    return hand_array(FrameEstimate((estimate,), CAMERA), Header(stamp=now, frame_id="camera"), IntrinsicsSource.CAMERA_INFO, "open")


def call(client: Client, service: str, engage: bool) -> SetBool.Response:
    caller = client.node.create_client(SetBool, service)
    client.until(caller.service_is_ready, "the service")
    future = caller.call_async(SetBool.Request(data=engage))
    client.until(future.done, "the service's answer")
    return future.result()


def test_engaged_it_follows_the_hand_in_the_robot_s_frame_and_stops_with_it(tmp_path):
    robot_hand = {"robot_hand__right": str(GRIPPER)} if importlib.util.find_spec("dex_retargeting") else {}
    node = NodeProcess(
        tmp_path / "log", program=("-m", MODULE), **START, **CAMERA_POSE, **robot_hand, rate=100.0, max_speed=0.3, max_age=5.0, resume=4.0
    )
    client = Client()
    try:
        for name, kind in (("pose", PoseStamped), ("gripper", Float64), ("wrist", PoseStamped), ("pinch", Float64)):
            client.listen(f"/teleop/right/{name}", kind)
        client.listen("/teleop/right/joint_states", JointState)
        client.listen("/teleop/right/engaged", Bool, latched=True)
        poses = client.received["/teleop/right/pose"]
        publisher = client.publisher("hands", HandArray)

        def send() -> None:
            # A hand that moves 0.2 m/s to the camera's right.
            publisher.publish(hands_at(0.2 * (time.monotonic() - begun), client.node.get_clock().now().to_msg()))

        begun = time.monotonic()
        due = [0.0]

        def stream() -> None:
            if time.monotonic() >= due[0]:
                due[0] = time.monotonic() + 0.03
                send()

        def until(done, what):
            client.until(lambda: stream() or done(), what)

        until(lambda: client.received["/teleop/right/wrist"], "the wrist")
        assert not poses
        assert call(client, "/teleop/right/engage", True).success
        until(lambda: poses and poses[-1].pose.position.y < -0.05, "commands")
        # The camera looks along the base's x, so that its right is the base's -y. The arm begins where it is and moves as the hand does.
        path = np.array([[p.pose.position.x, p.pose.position.y, p.pose.position.z] for p in poses])
        assert poses[0].header.frame_id == "base"
        np.testing.assert_allclose(path[0], [0.4, 0.0, 0.3], atol=1e-9)
        np.testing.assert_allclose(path[:, [0, 2]], [[0.4, 0.3]] * len(path), atol=1e-6)
        assert len(poses) > 10 and (np.diff(path[:, 1]) <= 1e-9).all()
        assert client.received["/teleop/right/gripper"] and client.received["/teleop/right/pinch"]
        if robot_hand:
            assert client.received["/teleop/right/joint_states"][-1].name == ["finger_joint", "right_finger_joint"]
        # Nothing more is sent: the commands stop long before the clutch opens.
        engaged = client.received["/teleop/right/engaged"]
        client.until(lambda: not engaged[-1].data, "the clutch to open")
        opened = time.time()
        client.until(lambda: time.time() > opened + 0.5, "commands that are still on their way")
        assert Time.from_msg(poses[-1].header.stamp).nanoseconds / 1e9 < opened - RESUME / 2
        # Latched: who listens late misses what came before.
        assert [message.data for message in engaged][-2:] == [True, False]
        assert node.stop() == 0, node.output
    finally:
        client.close()
        node.process.kill()


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"sides": "[both]"}, "sides"),
        ({"max_speed": -1.0}, "max_speed"),
        ({"clutch": "pedal"}, "clutch"),
        ({"workspace__min": "[2000.0,0.0,0.0]"}, "workspace.min"),
        ({"target_frame": "base"}, "camera.position"),
        ({"robot_hand__right": "/nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_what_cannot_be_used_ends_the_node_with_a_reason(tmp_path, parameters, why):
    if why == "camera.position" and importlib.util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed")
    if why == "nowhere.yaml":
        pytest.importorskip("dex_retargeting")
    node = NodeProcess(tmp_path / "log", program=("-m", MODULE), **parameters)
    assert node.wait() == 1
    assert why in node.output and "Traceback" not in node.output


def test_without_the_robot_s_pose_it_does_not_engage(tmp_path):
    node, client = NodeProcess(tmp_path / "log", program=("-m", MODULE)), Client()
    try:
        answer = call(client, "/teleop/right/engage", True)
        assert not answer.success and "robot_pose" in answer.message
    finally:
        client.close()
        node.stop()


def test_a_message_becomes_the_observation_that_it_was_made_of():
    estimate = hand(Side.LEFT, 3)
    message = hand_array(FrameEstimate((estimate,), CAMERA), Header(), IntrinsicsSource.CAMERA_INFO, "open").hands[0]
    seen = observation(message)
    assert seen.side is Side.LEFT and seen.track == estimate.track_id
    np.testing.assert_allclose(seen.joints, estimate.joints, atol=1e-6)
    np.testing.assert_allclose(seen.wrist.rotation.as_matrix(), estimate.wrist_rotation, atol=1e-6)
    np.testing.assert_allclose(
        seen.local_joints, Rotation.from_matrix(estimate.wrist_rotation).inv().apply(estimate.joints - estimate.joints[0]), atol=1e-5
    )


@pytest.mark.parametrize("broken", ["side", "nan", "zero"])
def test_a_broken_hand_is_none(broken):
    message = hand_array(FrameEstimate((hand(),), CAMERA), Header(), IntrinsicsSource.CAMERA_INFO, "open").hands[0]
    if broken == "side":
        message.side = Hand.SIDE_UNKNOWN
    elif broken == "nan":
        message.wrist.pose.position.x = float("nan")
    else:
        message.wrist.pose.orientation.x = message.wrist.pose.orientation.y = message.wrist.pose.orientation.z = 0.0
        message.wrist.pose.orientation.w = 0.0
    assert observation(message) is None
    assert broken == "side" or pose(message.wrist.pose) is None
