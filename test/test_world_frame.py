"""Hands of a moving camera in a fixed frame: poses from TF, odometry and files, and what happens without them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import MOUNT, PERIOD, START, head_pose, write_bag
from scipy.spatial.transform import Rotation

from wildhands_ros.config import EstimatorConfig
from wildhands_ros.io.images import InputError
from wildhands_ros.io.trajectories.files import TrajectoryOptions
from wildhands_ros.recording.bags import Bag
from wildhands_ros.recording.camera_poses import PoseOptions
from wildhands_ros.ros.recording.annotation import annotate
from wildhands_ros.ros.recording.image_streams import AnnotationOptions
from wildhands_ros.runtime.processes import Workers

CONFIG = EstimatorConfig(checkpoint="none")
THIS_PROCESS = Workers(1, map)
TF_TIMES = (START - 0.05 + 0.02 * np.arange(20)).tolist()
IN_ODOM = PoseOptions(frame="odom")


def annotated(source, folder, poses: PoseOptions) -> tuple[dict[str, dict[float, object]], list[str]]:
    """Returns the messages of the new topics by topic and stamp, and the problems."""
    problems = annotate(source, folder, AnnotationOptions(poses=poses), CONFIG, {}, THIS_PROCESS)
    found: dict[str, dict[float, object]] = {"/hands": {}, "/hands/world": {}, "/hands/camera_pose": {}}
    with Bag(folder) as bag:
        for topic, _, data in bag.messages():
            if topic.topic in found:
                message = bag.read(topic, data)
                found[topic.topic][message.header.stamp.sec + message.header.stamp.nanosec / 1e9] = message
    return found, problems


def check_hands(found, times) -> None:
    """Checks that the hands in the fixed frame are those of the camera frame, moved by the pose of the camera."""
    assert sorted(found["/hands/world"]) == sorted(found["/hands/camera_pose"]) == pytest.approx(list(times))
    for stamp, message in found["/hands/world"].items():
        pose = head_pose(stamp) @ MOUNT
        posed = found["/hands/camera_pose"][stamp]
        assert posed.header.frame_id == message.header.frame_id == "odom"
        position = posed.pose.position
        np.testing.assert_allclose([position.x, position.y, position.z], pose.position, atol=1e-4)
        hands = found["/hands"][stamp].hands
        assert hands and len(hands) == len(message.hands)
        for hand, moved in zip(hands, message.hands, strict=True):
            assert (hand.id, hand.side, list(hand.joints_2d)) == (moved.id, moved.side, list(moved.joints_2d))
            joints = pose.apply(np.reshape(hand.joints, (21, 3)))
            np.testing.assert_allclose(np.reshape(moved.joints, (21, 3)), joints, atol=2e-4)
            np.testing.assert_allclose(
                np.reshape(moved.vertices, (-1, 3)), pose.apply(np.reshape(hand.vertices, (-1, 3))), atol=2e-4
            )
            q, p = moved.wrist.pose.orientation, moved.wrist.pose.position
            np.testing.assert_allclose([p.x, p.y, p.z], joints[0], atol=2e-4)
            turn = Rotation.from_quat([q.x, q.y, q.z, q.w])
            before = hand.wrist.pose.orientation
            expected = Rotation.from_matrix(pose.rotation) * Rotation.from_quat(
                [before.x, before.y, before.z, before.w]
            )
            assert (turn.inv() * expected).magnitude() < 1e-3
            assert (turn.inv() * Rotation.from_rotvec(moved.mano.global_orient)).magnitude() < 1e-3
            covariance = np.reshape(moved.wrist.covariance, (6, 6))
            np.testing.assert_allclose(np.trace(covariance), np.trace(np.reshape(hand.wrist.covariance, (6, 6))))


def test_hands_in_a_frame_of_tf(tmp_path):
    found, problems = annotated(write_bag(tmp_path / "bag", tf_times=TF_TIMES), tmp_path / "out", IN_ODOM)
    assert problems == []
    check_hands(found, START + PERIOD * np.arange(4))


def test_hands_by_odometry_whose_child_frame_is_not_the_camera(tmp_path):
    bag = write_bag(tmp_path / "bag", odometry_times=TF_TIMES)
    found, problems = annotated(bag, tmp_path / "out", PoseOptions(source="/odometry"))
    assert problems == []
    check_hands(found, START + PERIOD * np.arange(4))


def test_hands_by_a_file_with_another_clock(tmp_path):
    lines = []
    for stamp in TF_TIMES:
        pose = head_pose(stamp) @ MOUNT
        numbers = (stamp - START, *pose.position, *Rotation.from_matrix(pose.rotation).as_quat())
        lines.append(" ".join(f"{number:.9g}" for number in numbers))
    (tmp_path / "poses.txt").write_text("\n".join(lines))
    bag = write_bag(tmp_path / "bag")
    poses = PoseOptions("odom", str(tmp_path / "poses.txt"), TrajectoryOptions(offset=START))
    found, problems = annotated(bag, tmp_path / "out", poses)
    assert problems == []
    check_hands(found, START + PERIOD * np.arange(4))
    with pytest.raises(InputError, match="the clocks differ; set --pose-offset"):
        annotated(bag, tmp_path / "out2", PoseOptions("odom", str(tmp_path / "poses.txt")))
    assert not (tmp_path / "out2").exists()


def test_tf_that_ends_early_is_reported_and_its_images_have_no_world_hands(tmp_path):
    times = [time for time in TF_TIMES if time < START + 1.7 * PERIOD]
    found, problems = annotated(write_bag(tmp_path / "bag", tf_times=times), tmp_path / "out", IN_ODOM)
    check_hands(found, START + PERIOD * np.arange(2))
    assert len(found["/hands"]) == 4
    text = " ".join(problems)
    assert re.search(r"end 0\.\d seconds before the last image", text)
    assert "unknown for 2 of 4 images" in text


def test_tf_that_jumps_is_reported_and_not_interpolated(tmp_path):
    def relocalised(time: float) -> np.ndarray:
        return np.array([0, 0.7, 0]) * (time > START + 1.5 * PERIOD)

    bag = write_bag(tmp_path / "bag", tf_times=TF_TIMES, shift=relocalised)
    found, problems = annotated(bag, tmp_path / "out", IN_ODOM)
    assert "unknown for 1 of 4 images" in problems[0] and "jump or pause 1 times (0.07" in problems[1]
    heights = [message.pose.position.y for message in found["/hands/camera_pose"].values()]
    assert np.ptp(heights) > 0.65 and all(min(abs(h - 0.1), abs(h - 0.8)) < 0.1 for h in heights)


@pytest.mark.parametrize(
    ("options", "poses", "why"),
    [
        (
            {},
            IN_ODOM,
            "TF does not connect 'odom' to the camera's frame 'camera_optical'; its frames are: camera_optical",
        ),
        ({"with_mount": False}, IN_ODOM, "no TF in this recording.*--camera-poses"),
        ({"tf_times": TF_TIMES}, PoseOptions("map"), "TF does not connect 'map'"),
        ({"with_mount": False, "tf_times": TF_TIMES}, IN_ODOM, "does not connect"),
        ({"odometry_times": TF_TIMES}, PoseOptions("odom", "/other"), "topics with poses: /odometry"),
        ({"odometry_times": TF_TIMES, "with_mount": False}, PoseOptions("", "/odometry"), "no TF"),
    ],
)
def test_unknown_poses_are_found_before_the_work(tmp_path, options, poses, why):
    bag = write_bag(tmp_path / "bag", **options)
    nothing = Workers(1, lambda *_: pytest.fail("nothing should be estimated"))
    with pytest.raises(InputError, match=why):
        annotate(bag, tmp_path / "out", AnnotationOptions(poses=poses), CONFIG, {}, nothing)


def test_images_out_of_order_are_reported_and_keep_their_places(tmp_path):
    stamps = [START, START + 2 * PERIOD, START + PERIOD, START + 3 * PERIOD]
    bag = write_bag(tmp_path / "bag", tf_times=TF_TIMES, stamps=stamps, received=[START + PERIOD * n for n in range(4)])
    found, problems = annotated(bag, tmp_path / "out", IN_ODOM)
    assert len(problems) == 1 and "1 images have an earlier stamp than the image before them" in problems[0]
    check_hands(found, sorted(stamps))


RESUMED = """
import sys
from pathlib import Path
from wildhands_ros.config import EstimatorConfig
from wildhands_ros.recording import annotation as engine
from wildhands_ros.recording.camera_poses import PoseOptions
from wildhands_ros.recording.refinement import RefinementOptions
from wildhands_ros.ros.recording.annotation import annotate
from wildhands_ros.ros.recording.image_streams import AnnotationOptions
from wildhands_ros.runtime.processes import Workers

engine.SEGMENT_LENGTH, engine.WARM_UP = 3, 2
options = AnnotationOptions(poses=PoseOptions("odom"), refinement=RefinementOptions(smooth=True))
annotate(Path(sys.argv[1]), Path(sys.argv[2]), options, EstimatorConfig(checkpoint="none"), {}, Workers(1, map))
"""


@pytest.mark.slow
def test_the_bytes_are_the_same_after_kill_9(tmp_path):
    """The process is killed while it estimates, and again while it writes the bag."""
    bag = write_bag(tmp_path / "bag", images=9, tf_times=TF_TIMES)

    def run(output: str, killed_at: str = "") -> None:
        process = subprocess.Popen([sys.executable, "-c", RESUMED, str(bag), str(tmp_path / output)])
        end = time.monotonic() + 120
        while killed_at and process.poll() is None and not list((tmp_path / f"{output}.partial").glob(killed_at)):
            assert time.monotonic() < end
            time.sleep(0.002)
        if killed_at:
            process.kill()
        assert process.wait(120) in ((-signal.SIGKILL, 0) if killed_at else (0,))

    run("whole")
    run("resumed", "segments/000001.npz")
    assert not (tmp_path / "resumed").exists()
    if (tmp_path / "resumed.partial").exists():
        run("resumed", "resumed/*.mcap")
    if not (tmp_path / "resumed").exists():
        run("resumed")
    contents = []
    for name in ("whole", "resumed"):
        with Bag(tmp_path / name) as opened:
            contents.append([(topic.topic, at, bytes(data)) for topic, at, data in opened.messages()])
        assert not (tmp_path / f"{name}.partial").exists()
    assert contents[0] == contents[1]
