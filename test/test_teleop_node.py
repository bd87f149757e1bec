"""The teleoperation node as a process, over real DDS."""

from __future__ import annotations

import importlib.util
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from ros_graph import DOMAIN, Client, NodeProcess
from ros_samples import CAMERA, hand
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Header
from std_srvs.srv import SetBool

import wildhands_ros
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.msg import Hand, HandArray
from wildhands_ros.ros import camera_motion
from wildhands_ros.ros.messages import hand_array
from wildhands_ros.ros.teleop import arm_topics
from wildhands_ros.ros.teleop import node as teleop_node
from wildhands_ros.ros.teleop.messages import observation, pose, time_message
from wildhands_ros.types import FrameEstimate, Side

pytestmark = pytest.mark.ros

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
    return hand_array(
        FrameEstimate((estimate,), CAMERA), Header(stamp=now, frame_id="camera"), IntrinsicsSource.CAMERA_INFO, "open"
    )


def test_an_engaged_arm_follows_the_hand_in_the_target_frame_and_stops_with_it(tmp_path):
    robot_hand = {"robot_hand__right": str(GRIPPER)} if importlib.util.find_spec("dex_retargeting") else {}
    node = NodeProcess(
        tmp_path / "log",
        program=("-m", MODULE),
        **START,
        **CAMERA_POSE,
        **robot_hand,
        rate=100.0,
        max_speed=0.3,
        max_age=5.0,
        resume=4.0,
    )
    client = Client()
    try:
        for name, kind in (("pose", PoseStamped), ("gripper", Float64), ("wrist", PoseStamped), ("pinch", Float64)):
            client.listen(f"/teleop/right/{name}", kind)
        client.listen("/teleop/right/joint_states", JointState)
        client.listen("/teleop/right/engaged", Bool, latched=True)
        poses = client.received["/teleop/right/pose"]
        publisher = client.publisher("hands", HandArray)

        images = count()

        def send() -> None:
            # A hand that moves to the right of the camera, at most at 0.2 m/s.
            publisher.publish(hands_at(0.006 * next(images), client.node.get_clock().now().to_msg()))

        def until(done, what):
            client.until(done, what, meanwhile=send, every=0.03)

        until(lambda: client.received["/teleop/right/wrist"], "the wrist")
        assert not poses
        assert client.call(SetBool, "/teleop/right/engage", SetBool.Request(data=True)).success
        until(lambda: poses and poses[-1].pose.position.y < -0.05, "commands")
        # The camera looks along x of the base, so its right is -y of the base. The arm starts at its current pose and
        # moves like the hand.
        path = np.array([[p.pose.position.x, p.pose.position.y, p.pose.position.z] for p in poses])
        assert poses[0].header.frame_id == "base"
        np.testing.assert_allclose(path[0], [0.4, 0.0, 0.3], atol=1e-9)
        np.testing.assert_allclose(path[:, [0, 2]], [[0.4, 0.3]] * len(path), atol=1e-6)
        assert len(poses) > 10 and (np.diff(path[:, 1]) <= 1e-9).all()
        assert client.received["/teleop/right/gripper"] and client.received["/teleop/right/pinch"]
        if robot_hand:
            assert client.received["/teleop/right/joint_states"][-1].name == ["finger_joint", "right_finger_joint"]
        # No more hands are sent: commands stop long before the clutch opens.
        engaged = client.received["/teleop/right/engaged"]
        client.until(lambda: not engaged[-1].data, "the clutch to open")
        opened = time.time()
        client.until(lambda: time.time() > opened + 0.5, "the last commands arrive")
        assert Time.from_msg(poses[-1].header.stamp).nanoseconds / 1e9 < opened - RESUME / 2
        # Latched with depth 1: late subscribers receive the latest message only.
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
def test_invalid_settings_end_the_node_with_a_reason(tmp_path, parameters, why):
    if why == "camera.position" and importlib.util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed")
    if why == "nowhere.yaml":
        pytest.importorskip("dex_retargeting")
    node = NodeProcess(tmp_path / "log", program=("-m", MODULE), **parameters)
    assert node.wait() == 1
    assert why in node.output and "Traceback" not in node.output


def test_it_does_not_engage_without_the_pose_of_the_robot(tmp_path):
    node, client = NodeProcess(tmp_path / "log", program=("-m", MODULE)), Client()
    try:
        answer = client.call(SetBool, "/teleop/right/engage", SetBool.Request(data=True))
        assert not answer.success and "robot_pose" in answer.message
    finally:
        client.close()
        node.stop()


def test_observations_survive_the_round_trip_through_a_message():
    estimate = hand(Side.LEFT, 3)
    message = hand_array(FrameEstimate((estimate,), CAMERA), Header(), IntrinsicsSource.CAMERA_INFO, "open").hands[0]
    stamp = Time(nanoseconds=5_000_000_007).to_msg()
    seen = observation(message, stamp)
    assert seen.stamp == 5_000_000_007 and time_message(seen.stamp) == stamp
    assert seen.side is Side.LEFT and seen.track == estimate.track_id
    np.testing.assert_allclose(seen.joints, estimate.joints, atol=1e-6)
    np.testing.assert_allclose(seen.wrist.rotation, estimate.wrist_rotation, atol=1e-6)
    np.testing.assert_allclose(
        seen.local_joints,
        Rotation.from_matrix(estimate.wrist_rotation).inv().apply(estimate.joints - estimate.joints[0]),
        atol=1e-5,
    )


@pytest.mark.parametrize("broken", ["side", "nan", "zero"])
def test_an_invalid_hand_is_none(broken):
    message = hand_array(FrameEstimate((hand(),), CAMERA), Header(), IntrinsicsSource.CAMERA_INFO, "open").hands[0]
    if broken == "side":
        message.side = Hand.SIDE_UNKNOWN
    elif broken == "nan":
        message.wrist.pose.position.x = float("nan")
    else:
        message.wrist.pose.orientation.x = message.wrist.pose.orientation.y = message.wrist.pose.orientation.z = 0.0
        message.wrist.pose.orientation.w = 0.0
    assert observation(message, Time().to_msg()) is None
    assert broken == "side" or pose(message.wrist.pose) is None


# The node in this process; the tests call its callbacks and set its clock


class FakeTf:
    """The part of tf2_ros that the node uses, for translations only; used if no ROS distribution is installed."""

    class TransformException(Exception):
        pass

    class ExtrapolationException(TransformException):
        pass

    class TransformListener:
        def __init__(self, buffer, node):
            pass

    class Buffer:
        def __init__(self):
            self._moving, self._static = {}, {}

        def set_transform(self, message, authority):
            _, times = self._moving.setdefault(message.child_frame_id, (message.header.frame_id, {}))
            stamp = Time.from_msg(message.header.stamp).nanoseconds
            if not times or stamp > max(times) - 10e9:  # Older ones are rejected.
                times[stamp] = message.transform.translation.x

        def set_transform_static(self, message, authority):
            self._static[message.child_frame_id] = message.header.frame_id, message.transform.translation.x

        def clear(self):
            for _, times in self._moving.values():
                times.clear()

        def lookup_transform(self, target, source, when):
            found = TransformStamped()
            while source != target:
                if source in self._static:
                    source, x = self._static[source]
                elif source in self._moving:
                    source, times = self._moving[source]
                    stamp = when.nanoseconds or max(times, default=0)  # 0 means the latest.
                    if not times or not min(times) <= stamp <= max(times):
                        raise FakeTf.ExtrapolationException("extrapolation")
                    x = np.interp(
                        stamp - min(times), np.array(sorted(times)) - min(times), [times[at] for at in sorted(times)]
                    )
                else:
                    raise FakeTf.TransformException(f"{source} is unknown")
                found.transform.translation.x += float(x)
            return found


@pytest.fixture
def make(monkeypatch):
    """Returns a function that creates a node with a clock (``clock.now``) and its diagnostics (``status()``)."""
    if not importlib.util.find_spec("tf2_ros"):
        monkeypatch.setattr(camera_motion, "tf2_ros", FakeTf)
    clock = SimpleNamespace(now=1000.0)
    for module in (teleop_node, arm_topics):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    made = []

    def node(**parameters):
        words = [word for name, value in parameters.items() for word in ("-p", f"{name.replace('__', '.')}:={value}")]
        rclpy.init(args=["--ros-args", *words], domain_id=DOMAIN)
        made.append(teleop_node.TeleopNode())
        published = []
        made[0]._diagnostics = SimpleNamespace(publish=published.append)

        def status():
            made[0]._on_diagnostics_timer()
            return published[-1].status[0]

        return SimpleNamespace(
            node=made[0], arm=made[0]._arms[0].arm, topics=made[0]._arms[0], clock=clock, status=status
        )

    yield node
    for each in made:
        each.destroy_node()
    rclpy.try_shutdown()


def at(seconds: float):
    return Time(nanoseconds=round(seconds * 1e9)).to_msg()


def transform(stamp: float, x: float, parent="base", child="camera") -> TransformStamped:
    message = TransformStamped(header=Header(stamp=at(stamp), frame_id=parent), child_frame_id=child)
    message.transform.translation.x = x
    return message


def robot_pose(frame: str) -> PoseStamped:
    message = PoseStamped(header=Header(frame_id=frame))
    message.pose.orientation.w = 1.0
    return message


def test_robot_pose_in_another_frame_than_the_commands_is_rejected(make):
    made = make(max_age=0.0)
    for frame in ("", "camera"):
        made.topics._on_robot_pose(robot_pose(frame))
        assert not made.arm.engage(made.clock.now)  # The frame of the commands is not known yet.
        assert "before the first hands" in made.status().message
    made.node._on_hands(hands_at(0.0, at(1)))
    made.topics._on_robot_pose(robot_pose("base_link"))
    assert not made.arm.engage(made.clock.now)
    status = made.status()
    assert (
        status.level == DiagnosticStatus.WARN and "'base_link'" in status.message and "target_frame" in status.message
    )
    assert {item.key: item.value for item in status.values}["rejected: invalid_robot_pose"] == "3"
    made.topics._on_robot_pose(robot_pose("camera"))
    assert made.arm.engage(made.clock.now)


class BrokenHand:
    """A robot hand whose retargeting fails."""

    joint_names = ("finger",)

    def __call__(self, joints):
        raise IndexError("index 24 is out of bounds")


def test_an_error_of_one_robot_hand_releases_its_arm_only(make, monkeypatch):
    hands = {Side.RIGHT: BrokenHand(), Side.LEFT: None}
    monkeypatch.setattr(arm_topics, "_retargeting", lambda config, side: hands[side])
    made = make(max_age=0.0, sides="[right,left]", **START)
    arms = [topics.arm for topics in made.node._arms]
    for step in range(3):
        made.clock.now += 0.02
        message = hands_at(0.0, at(step))
        message.hands += hands_at(0.3, at(step), Side.LEFT).hands
        made.node._on_hands(message)
        if step == 0:
            assert all(arm.engage(made.clock.now) for arm in arms)
        made.node._on_command_timer()
    assert not arms[0].engaged and "index 24" in arms[0].status
    assert arms[1].engaged and arms[1].status == "following"
    status = made.status()
    assert "right arm was released" in status.message
    assert {item.key: item.value for item in status.values}["rejected: internal_error"] == "1"


def diagnostics_values(made) -> dict[str, str]:
    return {item.key: item.value for item in made.status().values}


def hostile_messages():
    for value in (float("nan"), float("inf"), 1e308, -1e30):
        for field in ("position", "orientation"):
            for axis in "xyz":
                message = hands_at(0.0, at(5))
                setattr(getattr(message.hands[0].wrist.pose, field), axis, value)
                yield message
        message = hands_at(0.0, at(5))
        message.hands[0].joints[7] = np.float32(np.clip(value, -3e38, 3e38))
        yield message
        message = hands_at(0.0, at(5))
        message.hands[0].score = message.hands[0].side_score = float(np.clip(value, -3e38, 3e38))
        yield message
    for change in ("sec", "nanosec", "many", "none", "side"):
        message = hands_at(0.0, at(5))
        if change == "sec":
            message.header.stamp.sec = -5
        elif change == "nanosec":
            message.header.stamp.nanosec = 2**32 - 1
        elif change == "side":
            message.hands[0].side = 77
        else:
            message.hands = message.hands * (500 if change == "many" else 0)
        yield message


@pytest.mark.parametrize("robot_hand", [False, True])
def test_no_message_ends_the_node_and_no_command_is_not_finite(make, robot_hand):
    if robot_hand:
        pytest.importorskip("dex_retargeting")
    made = make(max_age=0.0, **START, **({"robot_hand__right": GRIPPER} if robot_hand else {}))
    sent = []
    made.topics._send = lambda command, stamp, frame: sent.append(command)
    for message in hostile_messages():
        for each in (hands_at(0.0, at(4)), message, hands_at(0.0, at(6))):
            made.clock.now += 0.02
            made.node._on_hands(each)
            if not made.arm.engaged:
                made.arm.engage(made.clock.now)
            made.node._on_command_timer()
    assert sent
    for command in sent:
        assert np.isfinite(command.pose.position).all() and np.isfinite(command.pose.rotation).all()
        assert np.isfinite(command.opening) and (command.joints is None or np.isfinite(command.joints).all())
    assert not [item.key for item in made.status().values if "internal_error" in item.key]


@pytest.mark.parametrize("lag", [0, 1])
def test_latency_from_the_stamp_of_the_image_to_its_command_is_published(make, lag):
    """Once for each image, however many commands follow it, and including the delay of the glitch filter."""
    made = make(max_age=0.0, glitch_lag=lag, **START)
    latencies, wrists = [], []
    made.topics._latency = SimpleNamespace(publish=lambda message: latencies.append(message.data))
    made.topics._wrist = SimpleNamespace(publish=wrists.append)
    assert "none" in diagnostics_values(made)["right latency"]
    made.arm.engage(made.clock.now)
    stamps = []
    for _ in range(4):
        stamps.append(made.node.get_clock().now() - Duration(seconds=1))
        made.node._on_hands(hands_at(0.0, stamps[-1].to_msg()))
        for _ in range(3):
            made.clock.now += 0.01
            made.node._on_command_timer()
    assert len(latencies) == 4 - lag
    assert all(1.0 <= latency < 60.0 for latency in latencies)
    assert diagnostics_values(made)["right latency"].endswith("ms)")
    # Wrists have the stamps of their own images.
    assert [wrist.header.stamp for wrist in wrists] == [stamp.to_msg() for stamp in stamps[: 4 - lag]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, 1e9])
def test_a_robot_pose_that_cannot_be_is_rejected(make, value):
    made = make(**CAMERA_POSE)
    for field, axis in (("position", "x"), ("orientation", "w")):
        message = robot_pose("base")
        setattr(getattr(message.pose, field), axis, value)
        made.topics._on_robot_pose(message)
        assert not made.arm.engage(made.clock.now)


def test_robot_pose_must_be_in_the_target_frame(make):
    made = make(**CAMERA_POSE)
    made.topics._on_robot_pose(robot_pose("camera"))
    assert not made.arm.engage(made.clock.now)
    made.topics._on_robot_pose(robot_pose("base"))
    assert made.arm.engage(made.clock.now)


def test_hands_use_the_camera_pose_at_the_time_of_the_image(make):
    made = make(target_frame="base", max_age=10.0, max_hand_speed=50.0)
    now = time.time()
    buffer = made.node._camera_motion.buffer
    buffer.set_transform(transform(now - 0.2, 0.1), "test")
    buffer.set_transform(transform(now - 0.1, 0.2), "test")
    made.node._on_hands(hands_at(0.1, at(now - 0.15)))
    assert made.arm.hand.wrist.position[0] == pytest.approx(0.25, abs=1e-4)
    # Hands that are later than the last transform wait, in order, until TF covers them.
    for stamp in (now - 0.05, now):
        made.node._on_hands(hands_at(0.1, at(stamp)))
    assert made.arm.hand.wrist.position[0] == pytest.approx(0.25, abs=1e-4)
    buffer.set_transform(transform(now - 0.05, 0.3), "test")
    made.node._on_command_timer()
    assert made.arm.hand.wrist.position[0] == pytest.approx(0.4, abs=1e-4)
    buffer.set_transform(transform(now, 0.4), "test")
    made.node._on_command_timer()
    assert made.arm.hand.wrist.position[0] == pytest.approx(0.5, abs=1e-4)
    assert made.status().level == DiagnosticStatus.OK


def test_dead_tf_publisher_is_reported(make):
    made = make(target_frame="base", max_age=5.0)
    now = time.time()
    made.node._camera_motion.buffer.set_transform(transform(now - 1, 1.0), "test")
    made.node._on_hands(hands_at(0.1, at(now)))
    made.node._on_command_timer()
    assert made.status().level == DiagnosticStatus.OK
    made.clock.now += 5.1
    made.node._on_command_timer()
    assert made.arm.hand is None
    made.clock.now -= 5.1  # Hands still arrive.
    status = made.status()
    assert status.level == DiagnosticStatus.WARN and "publisher" in status.message
    assert {item.key: item.value for item in status.values}["rejected: no_transform"] == "1"


def test_transforms_of_a_bag_that_starts_over_are_accepted(make):
    made = make(target_frame="base", max_age=0.0, max_hand_speed=50.0)
    buffer = made.node._camera_motion.buffer
    buffer.set_transform_static(transform(0, 0.5, "head", "camera"), "test")
    for stamp in (100, 101):
        buffer.set_transform(transform(stamp, 1.0, child="head"), "test")
    made.node._on_hands(hands_at(0.1, at(101)))
    assert made.arm.hand.wrist.position[0] == pytest.approx(1.6, abs=1e-4)
    made.node._on_hands(hands_at(0.1, at(50)))
    for stamp in (50, 51):
        buffer.set_transform(transform(stamp, 1.2, child="head"), "test")
    made.node._on_hands(hands_at(0.1, at(50.5)))
    assert made.arm.hand.wrist.position[0] == pytest.approx(1.8, abs=1e-4)


@pytest.mark.parametrize(("interval", "watchdog", "rare"), [(0.2, 0.1, True), (0.2, 0.3, False), (0.033, 0.1, False)])
def test_hands_that_arrive_less_often_than_the_watchdog_allows_are_reported(make, interval, watchdog, rare):
    made = make(max_age=0.0, watchdog=watchdog, **START)
    assert made.arm.engage(made.clock.now)
    for step in range(6):
        made.clock.now += interval
        made.node._on_hands(hands_at(0.0, at(1 + step * interval)))
    status = made.status()
    assert (status.level == DiagnosticStatus.WARN) == rare
    assert ("hands arrive every 0.2 s" in status.message and "raise watchdog" in status.message) == rare


def test_recent_rejections_are_warnings(make):
    made = make(max_age=10.0, **START)
    made.arm.engage(made.clock.now)
    made.node._on_hands(hands_at(0.0, at(time.time() - 100)))
    status = made.status()
    assert status.level == DiagnosticStatus.WARN and "max_age" in status.message
    for _ in range(80):
        made.clock.now += 0.05
        made.node._on_hands(hands_at(0.0, at(time.time())))
    assert made.status().level == DiagnosticStatus.OK
