"""Annotation.

The hands are the same bytes for any number of processes and after an interruption. Also all input formats, incomplete
recordings, workers that fail, and offline smoothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import camera_info
from ros_samples import CAMERA, hand
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from wildhands_ros.cli.exit_codes import EXIT_INTERRUPTED
from wildhands_ros.config import EstimatorConfig
from wildhands_ros.estimator import Estimator
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.io.camera_files import Intrinsics, load_calibration
from wildhands_ros.io.images import InputError, encode_image
from wildhands_ros.io.sources import open_source
from wildhands_ros.io.video_writer import VideoWriter
from wildhands_ros.recording import annotation as engine
from wildhands_ros.recording.bags import Bag
from wildhands_ros.recording.estimation import Job, segment_path
from wildhands_ros.recording.segments import AnnotatedFrame, Segment, load, save
from wildhands_ros.ros.recording.annotation import annotate, summarized
from wildhands_ros.ros.recording.image_streams import AnnotationOptions
from wildhands_ros.runtime.processes import Workers, processes
from wildhands_ros.smoothing.offline import smooth_track
from wildhands_ros.types import FrameEstimate, ManoParameters, Side

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parent.parent / "demo"
CALIBRATION = load_calibration(DEMO / "camera_info.yaml")
NUM_FRAMES = 11


# Without the network, which has tests of its own. Tracks and fit are what remembers earlier frames.
CONFIG = EstimatorConfig(checkpoint="none")
THIS_PROCESS = Workers(1, map)
CALIBRATED = AnnotationOptions(intrinsics=Intrinsics(CALIBRATION))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "short.mp4"
    writer = VideoWriter(path, 30)
    for _, frame in zip(range(NUM_FRAMES), open_source(str(DEMO / "clip.mp4")), strict=False):
        writer.write(frame.image)
    writer.close()
    return path


NO_WORKERS = Workers(1, lambda *_: pytest.fail("nothing should be estimated"))


def hands_of(folder: Path) -> list[bytes]:
    with Bag(folder) as bag:
        return [bytes(data) for topic, _, data in bag.messages() if topic.topic == "/hands"]


def images_of(folder: Path) -> list[bytes]:
    with Bag(folder) as bag:
        return [bytes(data) for topic, _, data in bag.messages() if topic.topic == "/image/compressed"]


@pytest.fixture(scope="module")
def small_segments():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "SEGMENT_LENGTH", 4)
        patch.setattr(engine, "WARM_UP", 2)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, video, small_segments) -> list[bytes]:
    """The hands of an annotation by one process without interruption. Also checks its images."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    with processes(1) as workers:
        assert annotate(video, folder, CALIBRATED, CONFIG, {}, workers) == []
    with Bag(folder) as bag:
        # Tracks continue across segments.
        names = {
            hand.id
            for topic, _, data in bag.messages()
            if topic.topic == "/hands"
            for hand in bag.read(topic, data).hands
        }
    assert names and len(names) <= 3
    assert not folder.with_name("out.partial").exists()
    found = hands_of(folder)
    assert len(found) == NUM_FRAMES
    with Bag(folder) as bag:
        messages = [bag.read(topic, data) for topic, _, data in bag.messages() if topic.topic == "/image/compressed"]
    for message, frame in zip(messages, open_source(str(video)), strict=True):
        assert bytes(message.data) == encode_image(frame.image, ".jpg")
    return found


def test_two_processes_give_the_same_bytes(tmp_path, video, whole):
    with processes(2) as workers:
        annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, workers)
    assert hands_of(tmp_path / "out") == whole


def test_a_video_with_a_damaged_end_is_annotated_up_to_the_damage(tmp_path, video, small_segments):
    # This format can be read without an index, frame by frame.
    writer = cv2.VideoWriter(str(tmp_path / "cut.avi"), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 30, (640, 360))
    for frame in open_source(str(video)):
        writer.write(cv2.resize(frame.image, (640, 360))[..., ::-1])
    writer.release()
    data = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 6 // 10])
    (problem,) = annotate(tmp_path / "cut.avi", tmp_path / "out", CALIBRATED, CONFIG, {}, THIS_PROCESS)
    assert f"of {NUM_FRAMES} frames; the rest cannot be decoded" in problem
    assert 0 < len(hands_of(tmp_path / "out")) == len(images_of(tmp_path / "out")) < NUM_FRAMES


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_resumed_annotation_gives_the_same_bytes(tmp_path, video, whole, monkeypatch, error):
    calls = 0

    def interrupted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == 10:  # in the second segment, after its warm-up
            raise error
        return estimate(*arguments, **options)

    estimate = Estimator.__call__
    with monkeypatch.context() as patch:
        patch.setattr(Estimator, "__call__", interrupted)
        with pytest.raises(error):
            annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, THIS_PROCESS)
    segments = tmp_path / "out.partial" / "segments"
    assert not (tmp_path / "out").exists() and {path.name for path in segments.glob("*.npz")} == {
        "000000.npz",
        "jpegs_000000.npz",
    }
    jobs = []

    def run(work, parts):
        jobs.extend(part for part in parts if isinstance(part, Job))
        return map(work, parts)

    # Two workers resume, each with a part of the missing segments.
    annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, Workers(2, run))
    assert [job.segments for job in jobs] == [(1,), (2,)]
    assert hands_of(tmp_path / "out") == whole
    assert len(images_of(tmp_path / "out")) == NUM_FRAMES


@pytest.mark.parametrize("killed_in", ["rename", "rmtree", "rmdir"])
def test_a_call_that_was_killed_at_the_end_is_resumed(tmp_path, video, whole, monkeypatch, killed_in):
    """SIGKILL before and after the bag is moved to its place; ``tools/kill_annotate.py`` tries random moments."""

    place, original = {
        "rename": (Path, Path.rename),
        "rmtree": (shutil, shutil.rmtree),
        "rmdir": (shutil, shutil.rmtree),
    }[killed_in]
    method = "rename" if killed_in == "rename" else "rmtree"

    def killed(folder, *arguments, **options):
        if "out.partial" in (folder.name, folder.parent.name) and folder.name != "segments":
            if killed_in == "rmdir":
                (folder / "written").unlink()
            raise SystemExit
        return original(folder, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, method, killed)
        with pytest.raises(SystemExit):
            annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, THIS_PROCESS)
    assert (tmp_path / "out").exists() == (killed_in != "rename")
    assert annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, NO_WORKERS) == []
    assert hands_of(tmp_path / "out") == whole and not (tmp_path / "out.partial").exists()
    with pytest.raises(FileExistsError, match="already exists; remove it"):
        annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, NO_WORKERS)


def test_finished_segments_are_not_estimated_again(tmp_path, small_segments):
    made = engine.Annotation(tmp_path / "work", {})
    for number in (1, 4):
        save(segment_path(tmp_path / "work", number), Segment([], []))
    assert [part.segments for part in made.jobs(22, 2)] == [(0, 2), (3, 5)]
    assert [part.to_the_end for part in made.jobs(22, 2)] == [False, True]
    assert made.num_done(22) == 8 and made.num_done(6) == 6
    assert made.jobs(None, 2)[0] == Job((0,), True, 4, 2)


def test_an_error_in_a_worker_is_raised_and_ends_the_others(tmp_path, video):
    with pytest.raises(ValueError, match="'no_such_model'"), processes(2) as workers:
        annotate(video, tmp_path / "out", CALIBRATED, replace(CONFIG, detector="no_such_model"), {}, workers)
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), processes(2) as workers:
        list(workers.map(sleep_or_fail, [3600, 0]))
    assert time.monotonic() - start < 1800


def sleep_or_fail(seconds: float) -> None:
    time.sleep(seconds / seconds * seconds)


def end_it(_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_reported_with_a_hint(tmp_path, video):
    with (
        pytest.raises(ChildProcessError, match=r"short.mp4: a worker process was killed.*run the same command again"),
        processes(1) as workers,
    ):
        annotate(
            video, tmp_path / "out", CALIBRATED, CONFIG, {}, Workers(1, lambda _, parts: workers.map(end_it, parts))
        )


def test_ctrl_c_ends_the_command_and_its_workers(tmp_path, video):
    """No traceback of a worker reaches the terminal."""
    command = [
        sys.executable,
        "-m",
        "wildhands_ros.cli.main",
        "annotate",
        str(video),
        "--output",
        str(tmp_path / "out"),
        "--jobs",
        "2",
    ]
    # A test that a shell started in the background ignores SIGINT, and its child processes inherit that.
    restore_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=restore_sigint
    )
    segments = tmp_path / "out.partial" / "segments"
    wait_for(segments.is_dir)
    wait_for(lambda: children(running.pid))
    os.killpg(running.pid, signal.SIGINT)
    workers = children(running.pid)
    _, said = running.communicate(timeout=60)
    assert running.returncode == EXIT_INTERRUPTED and "Traceback" not in said, said
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ray_gives_the_same_bytes(tmp_path, video, whole):
    pytest.importorskip("ray.data", exc_type=ImportError)
    from wildhands_ros.recording.ray_cluster import ray_workers

    with ray_workers("local") as workers:
        annotate(video, tmp_path / "out", CALIBRATED, CONFIG, {}, workers)
        with pytest.raises(ValueError, match="'no_such_model'"):
            annotate(video, tmp_path / "out2", CALIBRATED, replace(CONFIG, detector="no_such_model"), {}, workers)
    assert hands_of(tmp_path / "out") == whole


def test_work_with_other_settings_is_not_resumed(tmp_path):
    first = engine.Annotation(tmp_path / "work", {"fov": 60})
    save(segment_path(tmp_path / "work", 0), Segment([], []))
    assert (
        engine.Annotation(tmp_path / "work", {"fov": 60}).num_done(None)
        == first.num_done(None)
        == engine.SEGMENT_LENGTH
    )
    assert engine.Annotation(tmp_path / "work", {"fov": 70}).num_done(None) == 0


def images(count: int = 2) -> list[bytes]:
    return [
        encode_image(frame.image, ".jpg")
        for _, frame in zip(range(count), open_source(str(DEMO / "clip.mp4")), strict=False)
    ]


def fill(
    writer,
    store,
    serialize,
    with_info: bool = True,
    topics: tuple[str, ...] = ("/camera/image/compressed",),
    ros1: bool = False,
) -> None:
    """Writes a small recording with images of the demo clip."""
    types = store.types
    kinds = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo", "std_msgs/msg/String"
    connections = {topic: writer.add_connection(topic, kinds[0], typestore=store) for topic in topics}
    text = writer.add_connection("/text", kinds[2], typestore=store)
    info = writer.add_connection("/camera/camera_info", kinds[1], typestore=store) if with_info else None
    for number, data in enumerate(images()):
        now = 10**9 + number * 33_000_000
        seq = {"seq": number} if ros1 else {}
        stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=number * 33_000_000)
        header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera_optical", **seq)
        for connection in connections.values():
            message = types[kinds[0]](header=header, format="jpeg", data=np.frombuffer(data, np.uint8))
            writer.write(connection, now, serialize(message, kinds[0]))
        writer.write(text, now, serialize(types[kinds[2]](data="something else"), kinds[2]))
        if info:
            message = camera_info(types, kinds[1], header, "DKRP" if ros1 else "dkrp")
            writer.write(info, now, serialize(message, kinds[1]))


def recording(folder: Path, kind: str = "mcap", **options) -> Path:
    if kind == "ros1":
        store = get_typestore(Stores.ROS1_NOETIC)
        with Writer1(folder / "old.bag") as writer:
            fill(writer, store, store.serialize_ros1, ros1=True, **options)
        return folder / "old.bag"
    store = get_typestore(Stores.ROS2_HUMBLE)
    plugin = StoragePlugin.MCAP if kind == "mcap" else StoragePlugin.SQLITE3
    with Writer(folder / "new", version=8, storage_plugin=plugin) as writer:
        fill(writer, store, store.serialize_cdr, **options)
    return folder / "new"


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_all_bag_formats_get_hands_beside_their_topics(tmp_path, kind):
    assert annotate(recording(tmp_path, kind), tmp_path / "out", AnnotationOptions(), CONFIG, {}, THIS_PROCESS) == []
    with Bag(tmp_path / "out") as bag:
        messages = [(topic.topic, bag.read(topic, data)) for topic, _, data in bag.messages()]
    counts = {name: sum(topic == name for topic, _ in messages) for name, _ in messages}
    assert counts == {"/camera/image/compressed": 2, "/camera/camera_info": 2, "/text": 2, "/hands": 2}
    for hands in (message for topic, message in messages if topic == "/hands"):
        assert hands.header.frame_id == "camera_optical" and hands.hands
        np.testing.assert_allclose(hands.k, CALIBRATION.k)
        assert hands.intrinsics_source == IntrinsicsSource.CAMERA_INFO.value
    assert (tmp_path / "out" / "out.mcap").is_file()


@pytest.mark.parametrize(
    ("options", "choices", "why"),
    [
        ({"with_info": False}, AnnotationOptions(), "no CameraInfo.*--camera-info FILE"),
        ({"topics": ()}, AnnotationOptions(), "no topic with images"),
        ({"topics": ("/a/image", "/b/image")}, AnnotationOptions(), "choose one with --image"),
        (
            {},
            AnnotationOptions(image_topic="/other"),
            "no images on /other; it has images on: /camera/image/compressed",
        ),
    ],
)
def test_an_incomplete_recording_is_rejected_with_a_hint(tmp_path, options, choices, why):
    with pytest.raises(InputError, match=why):
        annotate(recording(tmp_path, **options), tmp_path / "out", choices, CONFIG, {}, NO_WORKERS)
    assert not (tmp_path / "out").exists()


def test_images_of_which_none_can_be_used_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "images", lambda: [b"no image"] * 30)
    with pytest.raises(InputError, match="none of the first 10 images can be used; /camera/image/compressed, image 0"):
        annotate(recording(tmp_path), tmp_path / "out", AnnotationOptions(), CONFIG, {}, NO_WORKERS)


def test_equal_problems_are_one_line():
    problems = [*(f"/image, image {number}: damaged" for number in range(40)), "/image, image 3: too large"]
    assert summarized(problems) == ["/image, image 0: damaged (and 39 more like this)", "/image, image 3: too large"]


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, video):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write"):
        annotate(video, tmp_path / "file" / "out", AnnotationOptions(), CONFIG, {}, NO_WORKERS)


def test_a_still_image_is_refused_by_name(tmp_path):
    path = tmp_path / "still.png"
    path.write_bytes(encode_image(np.zeros((8, 8, 3), np.uint8), ".png"))
    with pytest.raises(InputError, match="still image"):
        annotate(path, tmp_path / "out", AnnotationOptions(), CONFIG, {}, NO_WORKERS)


def test_an_existing_output_is_not_overwritten(tmp_path, video):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="already exists"):
        annotate(video, tmp_path / "out", AnnotationOptions(), CONFIG, {}, NO_WORKERS)


# Segments and smoothing


def test_segments_survive_saving_and_loading(tmp_path):
    frames = [
        AnnotatedFrame(
            7, 0.25, IntrinsicsSource.CAMERA_INFO, FrameEstimate((hand(Side.RIGHT, 1), hand(Side.LEFT, 2)), CAMERA, 3)
        ),
        AnnotatedFrame(8, 0.5, IntrinsicsSource.GUESS, FrameEstimate((), CAMERA)),
        AnnotatedFrame(
            9,
            0.75,
            IntrinsicsSource.GUESS,
            FrameEstimate((hand(Side.LEFT, 4, wrist_covariance=None, grasp_probabilities=None),), CAMERA),
        ),
    ]
    save(tmp_path / "segment.npz", Segment(frames, ["one"]))
    assert load(tmp_path / "segment.npz").problems == ["one"]
    for before, after in zip(frames, load(tmp_path / "segment.npz").frames, strict=True):
        assert (before.index, before.stamp, before.origin) == (after.index, after.stamp, after.origin)
        assert before.estimate.unresolved == after.estimate.unresolved
        assert after.estimate.camera.d.tolist() == CAMERA.d.tolist()
        for one, other in zip(before.estimate.hands, after.estimate.hands, strict=True):
            assert (one.side, one.track_id, one.source, one.score) == (
                other.side,
                other.track_id,
                other.source,
                other.score,
            )
            np.testing.assert_array_equal(one.mano.hand_pose, other.mano.hand_pose)
            np.testing.assert_array_equal(one.joints_stddev, other.joints_stddev)
            assert (one.wrist_covariance is None) == (other.wrist_covariance is None)
            assert (one.grasp_probabilities is None) == (other.grasp_probabilities is None)


def moving(stamps: np.ndarray, noise: float = 0.0) -> list[ManoParameters]:
    rng = np.random.default_rng(0)
    turn = Rotation.from_rotvec([0.2, 2.5, -0.4])
    return [
        ManoParameters(
            np.array([0.3, -0.2, 0.5]) * t + noise * rng.normal(size=3),
            (Rotation.from_rotvec([0, 0, 0.8 * t]) * turn).as_rotvec(),
            np.full(45, 0.5 * t) + noise * rng.normal(size=45),
            np.ones(10) + noise * rng.normal(size=10),
        )
        for t in stamps
    ]


def test_smoothing_keeps_a_uniform_motion_including_its_ends():
    stamps = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.06, 40))
    manos = moving(stamps)
    for one, other in zip(manos, smooth_track(stamps, manos), strict=True):
        np.testing.assert_allclose(one.transl, other.transl, atol=1e-12)
        assert (
            Rotation.from_rotvec(one.global_orient).inv() * Rotation.from_rotvec(other.global_orient)
        ).magnitude() < 1e-9
        np.testing.assert_allclose(one.hand_pose, other.hand_pose, atol=2e-3)


def test_smoothing_reduces_noise_without_lag():
    stamps = np.arange(60) / 30
    noisy = moving(stamps, 0.01)
    before, after = (
        np.array([mano.transl - true.transl for mano, true in zip(manos, moving(stamps), strict=True)])
        for manos in (noisy, smooth_track(stamps, noisy))
    )
    assert after[3:-3].std() < 0.6 * before[3:-3].std()
    step = [ManoParameters(np.array([float(t >= 1), 0, 0]), np.zeros(3), np.zeros(45), np.zeros(10)) for t in stamps]
    smoothed = np.array([mano.transl[0] for mano in smooth_track(stamps, step)])
    np.testing.assert_allclose(smoothed[:30] + smoothed[:29:-1][:30], 1, atol=1e-9)


def test_smoothing_does_not_bridge_a_gap():
    stamps = np.array([0.0, 0.033, 0.066, 1.0, 1.033])
    manos = [ManoParameters(np.full(3, float(t > 0.5)), np.zeros(3), np.zeros(45), np.zeros(10)) for t in stamps]
    assert [mano.transl[0] for mano in smooth_track(stamps, manos)] == pytest.approx([0, 0, 0, 1, 1])
