"""The examples run as they are: scripts as processes, the notebook cell by cell, the node under a real rclpy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildhands_ros.io.images import encode_image
from wildhands_ros.io.sources import open_source

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
WRIST = re.compile(r"(\S+)  (left|right) +x [+-]\d\.\d{3}  y [+-]\d\.\d{3}  z \+(\d\.\d{3}) m  score \d\.\d\d")


@pytest.mark.slow
def test_hands_in_folder_prints_both_wrists_of_each_image(tmp_path):
    for frame, name in zip(islice(open_source(str(ROOT / "demo/clip.mp4")), 2), ("a.jpg", "b.png"), strict=True):
        (tmp_path / name).write_bytes(encode_image(frame.image, Path(name).suffix))
    calibration = ROOT / "demo/camera_info.yaml"
    command = [sys.executable, EXAMPLES / "hands_in_folder.py", tmp_path, "--calibration", calibration]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [WRIST.fullmatch(line).groups() for line in output.splitlines()]
    assert sorted((name, side) for name, side, _ in found) == [
        (name, side) for name in ("a.jpg", "b.png") for side in ("left", "right")
    ]
    assert all(0.2 < float(depth) < 1.5 for *_, depth in found)


@pytest.mark.slow
def test_notebook_runs_and_is_stored_without_outputs(tmp_path):
    notebook = json.loads((EXAMPLES / "hands.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells), "clear all outputs"
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    (tmp_path / "examples").mkdir()
    code = "\n".join("".join(cell["source"]) for cell in cells)
    code += "\nassert np.isfinite(smoothed).all() and smoothed.shape == (60, 21, 3)\nassert len(plt.get_fignums()) == 3"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "examples", env={**os.environ, "MPLBACKEND": "Agg"}, check=True
    )


def test_the_node_is_short():
    assert len((EXAMPLES / "my_hand_node.py").read_text().splitlines()) <= 45


@pytest.mark.ros
def test_the_node_publishes_the_position_of_a_pinch(tmp_path):
    pytest.importorskip("rclpy")
    from geometry_msgs.msg import PointStamped
    from pinching_hand import pinching_hand
    from ros_graph import Client, NodeProcess

    from wildhands_ros.msg import Hand, HandArray

    poses = pinching_hand()
    open_hand, pinch = poses[0] + (0.1, 0, 0.5), poses[len(poses) // 2] + (0.1, 0, 0.5)
    message = HandArray(hands=[Hand(joints=joints.ravel().tolist()) for joints in (open_hand, pinch)])
    message.header.frame_id = "camera_optical"
    node = NodeProcess(tmp_path / "node.log", program=(str(EXAMPLES / "my_hand_node.py"),))
    client = Client()
    try:
        client.listen("/pinch", PointStamped)
        publisher = client.node.create_publisher(HandArray, "/hands", 10)
        client.until(
            lambda: client.received["/pinch"], "the pinch is published", meanwhile=lambda: publisher.publish(message)
        )
        point = client.received["/pinch"][0]
    finally:
        client.close()
        assert node.stop() == 0, node.output
    assert point.header.frame_id == "camera_optical"
    expected = (pinch[Hand.THUMB_TIP] + pinch[Hand.INDEX_TIP]) / 2
    assert (point.point.x, point.point.y, point.point.z) == pytest.approx(tuple(expected), abs=1e-5)


@pytest.mark.parametrize(("file", "root"), [("camera_on_robot.urdf", "base_link"), ("two_cameras.urdf", "table")])
def test_bringup_urdf_connects_optical_frames_of_rep_103(file, root):
    joints = ElementTree.parse(EXAMPLES / "bringup" / file).getroot().findall("joint")
    parents = {joint.find("child").get("link"): joint.find("parent").get("link") for joint in joints}
    optical = [joint for joint in joints if joint.find("child").get("link").endswith("_optical_frame")]
    assert optical
    for joint in optical:
        frame = joint.find("child").get("link")
        assert parents[parents[frame]] == root
        turn = Rotation.from_euler("xyz", [float(word) for word in joint.find("origin").get("rpy").split()])
        # z of the images is forward (x), x is right (-y), y is down (-z).
        np.testing.assert_allclose(turn.as_matrix(), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
