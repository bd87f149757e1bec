"""The fusion node as a process, over real DDS."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.time import Time
from ros_graph import Client, NodeProcess
from scipy.spatial.transform import Rotation
from several_cameras import CAMERA, CENTRE, POSES, TrueHand
from std_msgs.msg import Header

from wildhands_ros.config import SmoothingConfig
from wildhands_ros.fitting.hand_fusion import HandFusion, observe
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.io.errors import InputError
from wildhands_ros.io.extrinsics_files import Extrinsics, load_extrinsics, save_extrinsics
from wildhands_ros.msg import Hand, HandArray
from wildhands_ros.ros.fusion.calibration import HandCollector, describe, refine
from wildhands_ros.ros.fusion.observations import MOST_HANDS, check_array, observations
from wildhands_ros.ros.fusion.outputs import FusedOutputs
from wildhands_ros.ros.fusion.parameters import FusionParameters
from wildhands_ros.ros.fusion.synchroniser import Stamped, Synchroniser
from wildhands_ros.ros.messages import hand_array
from wildhands_ros.ros.rejections import InputRejected
from wildhands_ros.types import FrameEstimate

pytestmark = pytest.mark.ros

MODULE = ("-m", "wildhands_ros.ros.fusion.node")
NAME = "wildhands_fusion"


class Cameras:
    """Publishes one hand as two camera nodes see it."""

    def __init__(self, client: Client):
        self.client = client
        self.publishers = {name: client.publisher(f"/{name}/hands", HandArray) for name in ("left", "right")}
        self.silent: set[str] = set()
        self.poses = {name: POSES[name] for name in self.publishers}
        self.intrinsics = IntrinsicsSource.CAMERA_INFO
        self.count = 0
        self.truths: dict[tuple[int, int], TrueHand] = {}
        """The hand by the stamp of the messages."""

    def publish(self) -> None:
        self.count += 1
        rng = np.random.default_rng(self.count)
        phase = self.count / 5
        truth = TrueHand(1, at=CENTRE + 0.08 * np.array([np.sin(phase), np.cos(1.3 * phase), np.sin(0.7 * phase)]))
        stamp = self.client.node.get_clock().now().to_msg()
        for name in self.publishers.keys() - self.silent:
            frame = FrameEstimate((truth.seen_by(self.poses[name], rng),), CAMERA)
            header = Header(stamp=stamp, frame_id=f"{name}_optical")
            self.publishers[name].publish(hand_array(frame, header, self.intrinsics, "open_hand", vertices=False))
        self.truths[stamp.sec, stamp.nanosec] = truth


def test_two_cameras_are_fused_and_what_is_wrong_is_named(tmp_path):
    file = tmp_path / "extrinsics.yaml"
    save_extrinsics(file, Extrinsics("world", POSES))
    node = NodeProcess(tmp_path / "log", program=MODULE, cameras="[left,right]", extrinsics=str(file), max_age=5.0)
    client = Client()
    try:
        client.listen("/hands", HandArray)
        client.listen("/diagnostics", DiagnosticArray)
        cameras = Cameras(client)
        hands: list[HandArray] = client.received["/hands"]

        def fused_by(*views: str) -> bool:
            return bool(hands) and [list(hand.views) for hand in hands[-1].hands] == [list(views)]

        client.until(lambda: fused_by("left", "right"), "hands of both cameras", meanwhile=cameras.publish, every=0.05)
        message = hands[-1]
        assert message.header.frame_id == "world"
        (hand,) = message.hands
        assert (hand.side, hand.source) == (Hand.SIDE_RIGHT, Hand.SOURCE_FUSION)
        truth = cameras.truths[message.header.stamp.sec, message.header.stamp.nanosec]
        assert np.linalg.norm(np.reshape(hand.joints, (21, 3)) - truth.joints, axis=1).mean() < 0.02
        assert len(hand.vertices) == 3 * 778 or len(hand.vertices) > 0
        assert np.isnan(hand.bbox).all()

        def learned() -> bool:
            return client.diagnostics(NAME).get("left and right: extrinsics") == "agree"

        client.until(learned, "a check of the extrinsics", meanwhile=cameras.publish, every=0.05)
        length = hands[-1].hands[0].hand_length
        assert length == pytest.approx(truth.length, rel=0.04)

        # A camera drops out: the other one goes on, with the same track. If the machine stalls, a track may end.
        for _ in range(3):
            client.until(
                lambda: fused_by("left", "right"), "hands of both cameras", meanwhile=cameras.publish, every=0.05
            )
            track = hands[-1].hands[0].id
            cameras.silent = {"right"}
            client.until(lambda: fused_by("left"), "hands of one camera", meanwhile=cameras.publish, every=0.05)
            kept = hands[-1].hands[0].id == track
            cameras.silent = set()
            if kept:
                break
        assert kept

        # A camera is moved: diagnostics tell within 5 s of images, and are published once a second.
        pose = POSES["right"]
        tilt = np.array([[np.cos(0.03), -np.sin(0.03), 0], [np.sin(0.03), np.cos(0.03), 0], [0, 0, 1]])
        cameras.poses["right"] = type(pose)(tilt @ pose.rotation, pose.position)
        moments = lambda: int(client.diagnostics(NAME)["moments"])  # noqa: E731
        before = moments()
        client.until(
            lambda: "extrinsics of left and right are wrong" in client.diagnostics(NAME)["message"],
            "wrong extrinsics are noticed",
            meanwhile=cameras.publish,
            every=0.05,
        )
        assert (moments() - before) * 0.05 < 10  # seconds of images
        cameras.poses["right"] = pose

        # Guessed intrinsics are not used.
        cameras.intrinsics = IntrinsicsSource.GUESS
        client.until(
            lambda: "guessed" in client.diagnostics(NAME)["message"],
            "the message",
            meanwhile=cameras.publish,
            every=0.05,
        )
        cameras.intrinsics = IntrinsicsSource.CAMERA_INFO

        # Two nodes of one name.
        other = client.publisher("/left/hands", HandArray)
        client.until(
            lambda: "2 nodes publish on /left/hands" in client.diagnostics(NAME)["message"],
            "the message",
            meanwhile=cameras.publish,
            every=0.05,
        )
        client.until(lambda: fused_by("right"), "only the other camera", meanwhile=cameras.publish, every=0.05)
        client.node.destroy_publisher(other)
        assert node.stop() == 0
    finally:
        node.process.kill()
        client.close()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cameras": "[left]"}, "at least two distinct names"),
        ({"cameras": "[left,left]"}, "at least two distinct names"),
        ({"extrinsics": "/nowhere.yaml"}, "no hands will be published: /nowhere.yaml: No such file"),
        ({}, "tf2_ros"),
    ],
)
def test_unusable_parameters_are_explained(tmp_path, parameters, message):
    if not parameters and __import__("importlib").util.find_spec("tf2_ros"):
        pytest.skip("TF is available here")
    node = NodeProcess(tmp_path / "log", program=MODULE, **parameters)
    try:
        for _ in range(1000):
            if message in node.output:
                break
            time.sleep(0.1)
        assert message in node.output
        assert "Traceback" not in node.output
    finally:
        node.process.kill()


def test_messages_of_one_moment_are_found():
    synchroniser = Synchroniser(["left", "right"], tolerance=0.02, max_wait=0.05)
    # Both cameras are alive: the first one waits for the second.
    synchroniser.add("left", Stamped(1.0, 10.0, "l1"))
    synchroniser.add("right", Stamped(1.01, 10.01, "r1"))
    group = synchroniser.next(10.01)
    assert {name: message.item for name, message in group.items()} == {"left": "l1", "right": "r1"}
    synchroniser.add("left", Stamped(1.033, 10.04, "l2"))
    assert synchroniser.next(10.05) is None
    assert set(synchroniser.next(10.1)) == {"left"}
    # What arrives too late is dropped.
    assert not synchroniser.add("right", Stamped(1.0, 10.11, "r0"))
    # A camera that skips a moment is not waited for.
    synchroniser.add("left", Stamped(1.066, 10.2, "l3"))
    synchroniser.add("right", Stamped(1.1, 10.2, "r3"))
    assert set(synchroniser.next(10.2)) == {"left"}
    # A camera that is dead is not waited for either.
    synchroniser.add("right", Stamped(1.1, 10.2, "r3"))
    synchroniser.next(11.0)
    synchroniser.add("left", Stamped(2.0, 12.0, "l4"))
    assert set(synchroniser.next(12.0)) == {"left"}
    # A bag starts again.
    assert synchroniser.add("left", Stamped(0.1, 13.0, "again"))
    assert set(synchroniser.next(13.0)) == {"left"}


def test_a_bag_that_starts_again_is_reported():
    restarts: list[str] = []
    synchroniser: Synchroniser[str] = Synchroniser(["left"], 0.01, 0.05, lambda: restarts.append("restart"))
    for stamp, expected in ((50.0, 0), (49.9, 0), (50.1, 0), (3.0, 1), (3.1, 1)):
        synchroniser.add("left", Stamped(stamp, stamp, ""))
        while synchroniser.next(1e9) is not None:
            pass
        assert len(restarts) == expected


def test_cameras_are_calibrated_by_hands():
    pose = POSES["right"]
    wrong = type(pose)(Rotation.from_rotvec([0, 0, 0.02]).as_matrix() @ pose.rotation, pose.position)
    client = Client()
    try:
        collector = HandCollector(client.node, ["left", "right"], {**POSES, "right": wrong}, "world")
        cameras = Cameras(client)
        client.until(
            lambda: len(collector.monitor.shared.get(("left", "right"), [])) >= 25,
            "hands",
            meanwhile=cameras.publish,
            every=0.1,
        )
    finally:
        client.close()
    refined = refine(collector.poses, collector.monitor.shared, ["left", "right"])
    error = Rotation.from_matrix(refined["right"].rotation @ pose.rotation.T).magnitude()
    assert error < 0.4 * 0.02
    assert any("right: turned by" in line for line in describe(collector.poses, refined, collector.monitor.shared))
    with pytest.raises(ValueError, match="too few hands"):
        refine(collector.poses, {}, ["left", "right"])


def hand_of_a_camera(name: str = "right", **changes) -> Hand:
    estimate = TrueHand(1).seen_by(POSES[name], np.random.default_rng(0))
    header = Header(frame_id=name)
    header.stamp.sec = 5
    frame = FrameEstimate((estimate,), CAMERA)
    (hand,) = hand_array(frame, header, IntrinsicsSource.CAMERA_INFO, "open_hand", vertices=False).hands
    for field, value in changes.items():
        setattr(hand, field, value)
    return hand


def message_of(*hands: Hand) -> HandArray:
    message = HandArray(hand_model="open_hand", width=CAMERA.width, height=CAMERA.height, k=CAMERA.k.ravel())
    message.header.frame_id, message.header.stamp.sec = "right", 5
    message.hands = list(hands)
    return message


COVARIANCE = np.array(hand_of_a_camera().wrist.covariance).reshape(6, 6)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": float("inf")},
        {"score": -1.0},
        {"side_score": 1e30},
        {"side": 7},
        {"joints": np.full(63, np.nan)},
        {"joints": np.full(63, 1e30)},
        {"joints_stddev": np.zeros(63)},
        {"joints_stddev": np.full(63, 1e30)},
    ],
)
def test_hands_with_impossible_numbers_are_not_used(changes):
    hands, unusable = observations(message_of(hand_of_a_camera(**changes), hand_of_a_camera()), CAMERA, POSES["right"])
    assert len(hands) == unusable == 1


@pytest.mark.parametrize("covariance", [-COVARIANCE, COVARIANCE + np.eye(6, k=1), np.zeros((6, 6)), 1e30 * np.eye(6)])
def test_hands_with_a_matrix_that_is_no_covariance_are_not_used(covariance):
    hand = hand_of_a_camera()
    hand.wrist.covariance = covariance.ravel()
    assert observations(message_of(hand), CAMERA, POSES["right"]) == ([], 1)
    hand = hand_of_a_camera()
    hand.mano.betas = np.full(10, 1e9)
    assert observations(message_of(hand), CAMERA, POSES["right"]) == ([], 1)


def test_of_very_many_hands_the_best_are_used():
    hands = [hand_of_a_camera(score=0.5) for _ in range(1000)] + [hand_of_a_camera(score=0.9)]
    used, others = observations(message_of(*hands), CAMERA, POSES["right"])
    assert len(used) == MOST_HANDS and others == 1001 - MOST_HANDS
    assert used[0].estimate.score == pytest.approx(0.9)


def test_messages_of_impossible_cameras_are_rejected_by_name():
    for field, value, name in (
        ("width", 0, "invalid_camera"),
        ("k", [float("nan")] * 9, "invalid_camera"),
        ("k", [500.0, 1e300, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0], "invalid_camera"),  # the inverse is singular
        ("d", [0.1] * 1000, "invalid_camera"),
        ("hand_model", "mano", "other_hand_model"),
    ):
        message = message_of(hand_of_a_camera())
        setattr(message, field, value)
        with pytest.raises(InputRejected) as raised:
            check_array("right", message, "open_hand")
        assert raised.value.name == name, field
    message = message_of(hand_of_a_camera())
    message.header.stamp.sec = -1
    with pytest.raises(InputRejected, match="-1 s"):
        check_array("right", message, "open_hand")


def test_files_of_extrinsics_are_checked(tmp_path):
    file = tmp_path / "extrinsics.yaml"
    save_extrinsics(file, Extrinsics("world", POSES))
    read = load_extrinsics(file)
    assert read.frame == "world"
    for name, pose in POSES.items():
        np.testing.assert_allclose(read.poses[name].rotation, pose.rotation, atol=1e-6)
        np.testing.assert_allclose(read.poses[name].position, pose.position, atol=1e-5)
    for text, message in (
        ("[1, 2]", "the keys frame and cameras"),
        ("cameras: {}", "frame must be the name"),
        ("{frame: world, cameras: {left: 3}}", "needs a position"),
        ("{frame: world, cameras: {left: {position: [1, 2], orientation: [0, 0, 0, 1]}}}", "needs a position"),
        ("{frame: world, cameras: {left: {position: [0, 0, .nan], orientation: [0, 0, 0, 1]}}}", "needs a position"),
        ("{frame: world, cameras: {left: {position: [0, 0, 0], orientation: [0, 0, 0, 0]}}}", "no quaternion"),
        (f"{{frame: w, cameras: {{a: {{position: [1{'0' * 400}, 0, 0], orientation: [0, 0, 0, 1]}}}}}}", "too large"),
        (f"{{frame: 0x{'f' * 5000}, cameras: {{}}}}", "not a file of extrinsics"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            load_extrinsics(file)


def test_messages_wait_for_others_only_until_their_deadline() -> None:
    synchroniser: Synchroniser[str] = Synchroniser(["left", "right"], 0.01, 0.05)
    assert synchroniser.deadline() is None
    synchroniser.add("right", Stamped(9.9, 4.9, "before"))
    while synchroniser.next(5.5) is not None:
        pass
    synchroniser.add("left", Stamped(10.0, 5.0, "first"))
    assert synchroniser.next(5.01) is None
    assert synchroniser.deadline() == pytest.approx(5.05)
    group = synchroniser.next(5.051)
    assert group is not None and set(group) == {"left"}
    assert synchroniser.deadline() is None


class Publishers:
    """The part of a node that ``FusedOutputs`` uses."""

    def __init__(self) -> None:
        self.sent: list[HandArray] = []

    def create_publisher(self, kind, topic, qos):
        keep = self.sent.append if topic == "hands" else lambda message: None
        return SimpleNamespace(publish=keep, get_subscription_count=lambda: 0)


def test_published_hands_are_smoothed_in_the_common_frame() -> None:
    assets = open_hands()
    spread = {}
    for name, smoothing in (("smoothed", SmoothingConfig()), ("as they are", None)):
        node, fusion = Publishers(), HandFusion(assets)
        outputs = FusedOutputs(node, assets, smoothing)
        for number in range(30):
            rng = np.random.default_rng(number)
            truth, stamp = TrueHand(1), number / 30
            observed = {
                camera: [observe(truth.seen_by(POSES[camera], rng), CAMERA, POSES[camera], stamp)]
                for camera in ("left", "right")
            }
            header = Header(stamp=Time(nanoseconds=round(stamp * 1e9)).to_msg(), frame_id="world")
            outputs.publish(fusion.update(stamp, observed).hands, header, FusionParameters())
        wrists = np.array([message.hands[0].joints[:3] for message in node.sent[10:]])
        spread[name] = float(np.linalg.norm(np.diff(wrists, axis=0), axis=1).mean())
        last = node.sent[-1].hands[0]
        np.testing.assert_allclose(last.wrist.pose.position.x, last.joints[0], atol=1e-6)
    assert spread["smoothed"] < 0.7 * spread["as they are"]
