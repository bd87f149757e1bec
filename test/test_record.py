"""From a camera to a dataset over real DDS: the node, `wildhands record` with episodes, `annotate`, and all exports."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import ENVIRONMENT, Client, NodeProcess
from std_msgs.msg import String
from std_srvs.srv import Trigger

from wildhands_ros.io.sources import open_source
from wildhands_ros.io.video_writer import VideoWriter
from wildhands_ros.msg import EpisodeEvent
from wildhands_ros.recording.bags import Bag
from wildhands_ros.recording.features import STATE_NAMES
from wildhands_ros.ros.recording.record import counts_table
from wildhands_ros.ros.recording.recorder import Counts, Recorder
from wildhands_ros.srv import StartEpisode

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parent.parent
LEROBOT = ROOT / ".venv-lerobot" / "bin" / "python"
NUM_FRAMES = 15
TASK = "wave both hands"

OPEN_IT = """
import sys, numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("me/wave", root=sys.argv[1], video_backend="pyav")
items = [dataset[number] for number in range(len(dataset))]
arrays = {name.replace("observation.", ""): np.stack([item[name].numpy() for item in items])
          for name in ("observation.state", "action", "observation.stamp", "observation.intrinsics")}
image = (items[0]["observation.images.head"].numpy() * 255).round().astype(np.uint8)
names = dataset.features["observation.state"]["names"]
np.savez(sys.argv[2], image=image, task=items[0]["task"], fps=dataset.fps, names=names, **arrays)
"""


def start(*arguments: str, log: Path) -> subprocess.Popen:
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **ENVIRONMENT},
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
        )


def wildhands(
    *arguments: str, cwd: Path, python: str = sys.executable, **environment: str
) -> subprocess.CompletedProcess:
    command = [python, "-m", "wildhands_ros.cli.main", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600
    )


def call(client: Client, kind: type, name: str, request):
    caller = client.node.create_client(kind, name)
    client.until(caller.service_is_ready, name)
    future = caller.call_async(request)
    client.until(future.done, f"the answer of {name}")
    return future.result()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """A folder with the bag `recording`: frames of the demo clip, the node's hands, a good and a discarded episode."""
    folder = tmp_path_factory.mktemp("round_trip")
    writer = VideoWriter(folder / "short.mp4", 30)
    for _, frame in zip(range(NUM_FRAMES), open_source(str(ROOT / "demo" / "clip.mp4")), strict=False):
        writer.write(frame.image)
    writer.close()
    node = NodeProcess(folder / "node.log", image_transport="compressed")
    topics = ("image/compressed", "camera_info", "hands")
    recorder = start("wildhands_ros.cli.main", "record", *topics, "--output", "recording", log=folder / "record.log")
    publisher, client = None, Client()
    try:
        client.listen("/diagnostics", DiagnosticArray)
        client.until(lambda: client.diagnostics("wildhands_record"), "the recorder")
        assert call(client, StartEpisode, "episode/start", StartEpisode.Request(task=TASK)).success
        refused = call(client, StartEpisode, "episode/start", StartEpisode.Request(task="another"))
        assert not refused.success and TASK in refused.message
        calibration = str(ROOT / "demo" / "camera_info.yaml")
        arguments = (
            "wildhands_ros.ros.demo.stream_publisher",
            "short.mp4",
            "--camera-info",
            calibration,
            "--listeners",
            "2",
        )
        publisher = start(*arguments, log=folder / "publisher.log")
        client.until(lambda: publisher.poll() is not None, "the clip", timeout=600)
        assert publisher.returncode == 0, (folder / "publisher.log").read_text()
        assert call(client, Trigger, "episode/stop", Trigger.Request()).success
        assert not call(client, Trigger, "episode/stop", Trigger.Request()).success
        # From the command line, without the ros2 command.
        for arguments in (("start", "a failure"), ("discard",)):
            run = wildhands("episode", *arguments, cwd=folder, **ENVIRONMENT)
            assert (run.returncode, run.stdout) == (0, "episode 1\n"), run.stderr
        run = wildhands("episode", "discard", cwd=folder, **ENVIRONMENT)
        assert run.returncode == 2 and "no episode to discard" in run.stderr
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(30) == 0, (folder / "record.log").read_text()
    finally:
        client.close()
        node.stop()
        for process in (recorder, publisher):
            if process is not None and process.poll() is None:
                process.kill()
    return folder


@pytest.fixture(scope="module")
def annotated(recorded) -> Path:
    run = wildhands("annotate", "recording", cwd=recorded)
    assert run.returncode == 0, run.stderr
    return recorded / "recording_hands"


def topics(path: Path) -> dict[str, list]:
    with Bag(path) as bag:
        found: dict[str, list] = {connection.topic: [] for connection in bag.connections}
        for connection, _, data in bag.messages():
            found[connection.topic].append(bag.read(connection, data))
        assert not bag.problems
    return found


def test_the_recording_contains_all_messages_and_counts_them(recorded):
    found = topics(recorded / "recording")
    assert len(found["/image/compressed"]) == len(found["/camera_info"]) == len(found["/hands"]) == NUM_FRAMES
    events = [(mark.event, mark.episode, mark.task) for mark in found["/episodes"]]
    kinds = EpisodeEvent.START, EpisodeEvent.STOP, EpisodeEvent.START, EpisodeEvent.DISCARD
    assert events == list(zip(kinds, (0, 0, 1, 1), (TASK, TASK, "a failure", "a failure"), strict=True))
    log = (recorded / "record.log").read_text()
    assert f"/hands             {NUM_FRAMES:>8}  {NUM_FRAMES:>7}  {0:>7}  {0:>4}" in log
    assert json.loads(
        (recorded / "recording" / "metadata.yaml")
        .read_text()
        .split("wildhands: '")[1]
        .split("'\n")[0]
        .replace("\n", "")
    )


def test_annotation_adds_hands_beside_the_original_topics(recorded, annotated):
    before, after = topics(recorded / "recording"), topics(annotated)
    assert after.keys() == {*before, "/hands/recorded"}
    assert len(after["/hands"]) == NUM_FRAMES and len(after["/hands/recorded"]) == NUM_FRAMES
    for image, hands in zip(after["/image/compressed"], after["/hands"], strict=True):
        assert hands.header == image.header
    # On the first frame neither the node nor the annotation has a history: both give the same hands.
    live, offline = after["/hands/recorded"][0].hands, after["/hands"][0].hands
    assert len(live) == len(offline) > 0
    for one, other in zip(live, offline, strict=True):
        np.testing.assert_allclose(one.joints, other.joints, atol=1e-4)
    assert not (recorded / "recording_hands.partial").exists()


def expected(annotated: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns states and stamps, computed directly from the messages."""
    states, stamps = [], []
    for message in topics(annotated)["/hands"]:
        parts = []
        for side in (1, 2):
            hand = next((hand for hand in message.hands if hand.side == side), None)
            if hand is None:
                parts.append(np.zeros(len(STATE_NAMES) // 2))
                continue
            p, q, mano, joints = (
                hand.wrist.pose.position,
                hand.wrist.pose.orientation,
                hand.mano,
                hand.joints.reshape(21, 3),
            )
            pinch = np.linalg.norm(joints[4] - joints[8])
            wrist = [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
            mano_values = [mano.transl, mano.global_orient, mano.hand_pose, mano.betas]
            parts.append(np.hstack([1, hand.score, *wrist, pinch, hand.joints, *mano_values]))
        states.append(np.concatenate(parts))
        stamps.append(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
    return np.array(states, np.float32), np.array(stamps)


def test_tables_agree_with_the_messages(annotated):
    parquet, h5py = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("h5py")
    for kind in ("parquet", "hdf5"):
        run = wildhands("export", kind, annotated.name, "--output", f"out.{kind}", "--fps", "30", cwd=annotated.parent)
        assert "1 episodes" in run.stdout, run.stderr
    states, stamps = expected(annotated)
    table = parquet.read_table(annotated.parent / "out.parquet").to_pydict()
    rows = [stamps.tolist().index(stamp) for stamp in table["stamp"]]
    assert len(rows) > 1 and set(table["task"]) == {TASK}
    exported = np.array([table[f"state.{name}"] for name in STATE_NAMES], np.float32).T
    np.testing.assert_array_equal(exported, states[rows])
    with h5py.File(annotated.parent / "out.hdf5") as file:
        (name,) = file["data"]
        group = file["data"][name]
        np.testing.assert_array_equal(group["state"][:], states[rows])
        assert group.attrs["task"] == TASK and list(file["data"].attrs["state_names"]) == list(STATE_NAMES)
        # The default action consists of the wrist poses and pinch distances of the next frame.
        actions, names = group["action"][:], list(file["data"].attrs["action_names"])
    columns = [STATE_NAMES.index(name) for name in names]
    np.testing.assert_array_equal(actions[:-1], states[rows][1:][:, columns])


@pytest.mark.skipif(not LEROBOT.exists(), reason="make lerobot has not been run")
def test_lerobot_loads_the_dataset(annotated):
    environment = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "LD_LIBRARY_PATH": ""}
    arguments = (
        "export",
        "lerobot",
        annotated.name,
        "--repo-id",
        "me/wave",
        "--output",
        "data_set",
        "--camera",
        "head",
        "--fps",
        "30",
    )
    run = wildhands(*arguments, cwd=annotated.parent, python=str(LEROBOT), **environment)
    assert "1 episodes" in run.stdout, run.stderr
    command = [str(LEROBOT), "-c", OPEN_IT, "data_set", "opened.npz"]
    run = subprocess.run(
        command, cwd=annotated.parent, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    opened = np.load(annotated.parent / "opened.npz")
    states, stamps = expected(annotated)
    rows = [stamps.tolist().index(stamp) for stamp in opened["stamp"].ravel()]
    np.testing.assert_array_equal(opened["state"], states[rows])
    assert opened["task"] == TASK and opened["fps"] == 30 and list(opened["names"]) == list(STATE_NAMES)
    original = next(iter(open_source(str(annotated.parent / "short.mp4")))).image
    assert opened["image"].shape == (3, *original.shape[:2])
    assert np.abs(opened["image"].transpose(1, 2, 0).astype(int) - original).mean() < 8  # the video is compressed
    about = json.loads((annotated.parent / "data_set" / "meta" / "wildhands.json").read_text())
    assert about["camera"]["width"] == original.shape[1] and about["camera"]["intrinsics_source"] == "camera_info"


def test_late_topics_are_recorded_and_missing_topics_reported(tmp_path):
    recorder = start(
        "wildhands_ros.cli.main", "record", "early", "late", "never", "--output", "bag", log=tmp_path / "log"
    )
    client = Client()
    try:
        client.listen("/diagnostics", DiagnosticArray)
        early = client.publisher("early", String)
        client.until(
            lambda: early.get_subscription_count(), "the recorder", meanwhile=lambda: early.publish(String(data="?"))
        )
        late = client.publisher("late", String, reliable=False)
        client.until(lambda: late.get_subscription_count(), "the recorder, again")
        # With best effort some messages may be lost.
        numbers = count()

        def written() -> int:
            found = re.search(r"written (\d+)", client.diagnostics("wildhands_record").get("/late", ""))
            return int(found.group(1)) if found else 0

        client.until(
            lambda: written() >= 20,
            "the messages",
            meanwhile=lambda: late.publish(String(data=str(next(numbers)))),
            every=0.02,
        )
        assert "/never" in client.diagnostics("wildhands_record")["message"]
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(30) == 0
    finally:
        client.close()
        recorder.kill()
    received = [int(message.data) for message in topics(tmp_path / "bag")["/late"]]
    assert len(received) >= 20 and received == sorted(set(received))
    assert "no publisher on /never" in (tmp_path / "log").read_text()


def test_an_unwritable_bag_ends_the_recording(tmp_path):
    """For example, the folder disappears when a disk is removed."""
    rclpy.init()
    try:
        with closing(Recorder(tmp_path / "bag", ["x"])) as recorder:
            shutil.rmtree(tmp_path / "bag")
            recorder.record_mark(EpisodeEvent(task="t"))
            end = time.monotonic() + 30
            while not recorder.failure and time.monotonic() < end:
                time.sleep(0.01)
        assert "FileNotFoundError" in recorder.failure
        recorder.destroy_node()
    finally:
        rclpy.shutdown()


def test_counts_are_shown_by_topic():
    lines = counts_table({"/b": Counts(5, 3, 2, 1), "/a": Counts(1, 1, 0, 0)}).splitlines()
    assert [line.split() for line in lines[1:]] == [["/a", "1", "1", "0", "0"], ["/b", "5", "3", "2", "1"]]


@pytest.mark.parametrize(
    ("arguments", "why"), [(["record"], "name the topics"), (["record", "x", "--output", "."], "already exists")]
)
def test_invalid_arguments_are_rejected(tmp_path, arguments, why):
    run = wildhands(*arguments, cwd=tmp_path)
    assert run.returncode == 2 and why in run.stderr and "Traceback" not in run.stderr
