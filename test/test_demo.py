"""`wildhands demo`, from the command line to its video and recording."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from ros_samples import CAMERA, hand, header
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from wildhands_ros.cli.results import hand_dict
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.io.sources import open_source
from wildhands_ros.io.video_writer import VideoWriter
from wildhands_ros.ros.demo.recorder import ReceivedHands
from wildhands_ros.ros.demo.summary import SentFrame, summary
from wildhands_ros.ros.messages import hand_array
from wildhands_ros.types import FrameEstimate, Side

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parent.parent
VIDEOS = (ROOT / "demo" / "clip.mp4", ROOT.parent / "shared" / "real_hands" / "hand_video.mp4")
NUM_FRAMES = 15

TOPICS = {
    "/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/camera_info": "sensor_msgs/msg/CameraInfo",
    "/hands": "wildhands_ros/msg/HandArray",
    "/hands/mesh_topology": "wildhands_ros/msg/HandMeshTopology",
    "/hands/markers": "visualization_msgs/msg/MarkerArray",
    "/hands/debug_image/compressed": "sensor_msgs/msg/CompressedImage",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}


def test_demo_writes_an_overlay_and_a_recording(tmp_path):
    video = next((path for path in VIDEOS if path.is_file()), None)
    if video is None:
        pytest.skip("neither demo/clip.mp4 nor the video of real hands is there")
    writer = VideoWriter(tmp_path / "short.mp4", 30)
    for number, frame in zip(range(30 + NUM_FRAMES), open_source(str(video)), strict=False):
        if number >= 30:
            writer.write(frame.image)
    writer.close()
    command = [sys.executable, "-m", "wildhands_ros.cli.main", "demo", "short.mp4"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    sent, processed = map(int, re.search(r"(\d+) sent, (\d+) processed", run.stdout).groups())
    assert sent == NUM_FRAMES and processed >= NUM_FRAMES - 1
    assert "guessed" in run.stdout and "Traceback" not in run.stderr
    assert len(list(open_source(str(tmp_path / "demo_output" / "overlay.mp4")))) >= NUM_FRAMES - 1

    types = get_typestore(Stores.ROS2_JAZZY)
    with Reader(tmp_path / "demo_output" / "recording") as bag:
        assert {connection.topic: connection.msgtype for connection in bag.connections} == TOPICS
        counts = {connection.topic: connection.msgcount for connection in bag.connections}
        # The bag contains the message definitions, so that it can be read without this package.
        for connection in bag.connections:
            if connection.msgtype.startswith("wildhands_ros"):
                types.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
        arrays = [
            types.deserialize_cdr(data, kind.msgtype) for kind, _, data in bag.messages() if kind.topic == "/hands"
        ]
    assert counts["/hands/mesh_topology"] == 2 and counts["/hands"] == processed and counts["/camera_info"] == 0
    assert counts["/diagnostics"] > 0 and counts["/tf"] > 0 and counts["/hands/markers"] > 0
    assert counts["/image/compressed"] >= NUM_FRAMES - 1 and counts["/hands/debug_image/compressed"] >= NUM_FRAMES - 1
    assert sum(len(array.hands) > 0 for array in arrays) >= 0.9 * NUM_FRAMES


def test_an_unreadable_source_fails_at_once(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    command = [sys.executable, "-m", "wildhands_ros.cli.main", "demo", "broken.mp4"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 2 and "broken.mp4" in run.stderr and "Traceback" not in run.stderr
    assert not (tmp_path / "demo_output").exists()


def test_summary_compares_with_the_labels():
    true_hands = [hand(Side.RIGHT, 1), hand(Side.LEFT, 2)]
    moved = hand(Side.RIGHT, 1)
    moved.joints[:] += (0.003, 0.0, 0.004)
    moved.joints[5:] += (0.0021, 0.0, 0.0)
    answer = hand_array(FrameEstimate((moved,), CAMERA), header(5, 0), IntrinsicsSource.CAMERA_INFO, "open")
    labels = {"frames": [{"hands": [hand_dict(item) for item in true_hands]}]}
    text = summary([SentFrame(5 * 10**9, 10**9)], [ReceivedHands(answer, 10**9 + 30_000_000)], labels)
    assert "1 sent, 1 processed" in text and "30 ms median" in text
    assert "1 of 2 hands found" in text
    relative, wrist, depth = map(
        float, re.search(r"joints ([\d.]+) mm.*wrist ([\d.]+) mm, depth ([\d.]+) %", text).groups()
    )
    assert relative == pytest.approx(2.1 * 16 / 21, abs=0.06)
    assert wrist == pytest.approx(5.0, abs=0.06)
    assert depth == pytest.approx(100 * 0.004 / true_hands[0].joints[0, 2], abs=0.06)
