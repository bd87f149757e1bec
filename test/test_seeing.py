"""Visualisation: the viewer in the browser, the rviz configuration and the Foxglove layout."""

import json
import re
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation
from test_overlay import CAMERA, FACES, posed

from wildhands_ros.types import FrameEstimate, Side

CONFIG = Path(__file__).parents[1] / "config"
NODE = Path(__file__).parents[1] / "wildhands_ros/ros/outputs.py"
RECORDER = NODE.parent / "demo" / "recorder.py"
PUBLISHED = {f"/{topic}" for topic in re.findall(r'self\._publisher\(\w+, "/?([\w/]+)"', NODE.read_text())} | {
    "/diagnostics"
}


@pytest.fixture
def viewer():
    pytest.importorskip("viser", reason="the viewer is an extra")
    from wildhands_ros.visualization.viewer import HandViewer

    viewer = HandViewer(FACES, port=8231)
    yield viewer
    viewer.close()


def shown(viewer):
    """Returns names and sides of the visible hands."""
    return {key for key, hand in viewer._hands.items() if hand._mesh.visible}


def test_the_viewer_follows_the_hands(viewer):
    image = np.full((720, 1280, 3), 90, np.uint8)
    right, left = posed(Side.RIGHT, (0.1, 0, 0.5)), posed(Side.LEFT, (-0.1, 0, 0.6))
    grasp = np.array([0, 0, 0.7, 0.3, 0, 0, 0, 0, 0])
    viewer.show(image, FrameEstimate((replace(right, track_id="hand_1", grasp_probabilities=grasp), left), CAMERA))
    assert shown(viewer) == {("right", Side.RIGHT), ("left", Side.LEFT)}
    assert "power prismatic 70 %" in viewer._text.content and "hand_1" in viewer._text.content
    assert viewer._image.image.shape == (360, 640, 3) and (viewer._image.image != 90).any()
    moved = posed(Side.RIGHT, (0.2, 0, 0.5))
    viewer.show(image, FrameEstimate((moved,), CAMERA))
    assert shown(viewer) == {("right", Side.RIGHT)}
    hand = viewer._hands["right", Side.RIGHT]
    np.testing.assert_allclose(hand._mesh.vertices, moved.vertices, atol=1e-6)
    np.testing.assert_allclose(hand._frames.batched_positions, moved.joints, atol=1e-6)
    wrist = Rotation.from_quat(np.roll(hand._frames.batched_wxyzs[0], -1)).as_matrix()
    np.testing.assert_allclose(wrist, moved.wrist_rotation, atol=1e-6)
    viewer.show(image, FrameEstimate((), CAMERA))
    assert shown(viewer) == set() and "no hands" in viewer._text.content
    with urllib.request.urlopen(viewer.url, timeout=10) as page:
        assert page.status == 200 and b"<html" in page.read().lower()


def test_without_viser_the_error_says_what_to_install(monkeypatch):
    import sys

    from wildhands_ros.visualization.viewer import HandViewer

    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ImportError, match="pip install viser"):
        HandViewer(FACES)


def test_rviz_shows_all_outputs():
    config = yaml.safe_load((CONFIG / "wildhands.rviz").read_text())
    displays = {display["Class"].split("/")[1]: display for display in config["Visualization Manager"]["Displays"]}
    assert all(display["Enabled"] for display in displays.values())
    topics = {f"/{displays[name]['Topic']['Value']}" for name in ("MarkerArray", "Image")}
    assert topics == {"/hands/markers", "/hands/debug_image"} <= PUBLISHED
    assert displays["TF"]["Show Axes"] and displays["TF"]["Frames"]["All Enabled"]


def test_the_foxglove_layout_is_complete_and_uses_existing_topics():
    layout = json.loads((CONFIG / "wildhands_foxglove.json").read_text())

    def panels(node) -> set[str]:
        return {node} if isinstance(node, str) else panels(node["first"]) | panels(node["second"])

    tabs = {tab["layout"] for tab in layout["configById"]["Tab!overlays"]["tabs"]}
    assert panels(layout["layout"]) | tabs == set(layout["configById"])
    assert {"3D", "Image", "Plot", "RawMessages", "DiagnosticSummary", "Tab"} == {
        panel.split("!")[0] for panel in layout["configById"]
    }
    named = set(re.findall(r'"(/[a-z_]+(?:/[a-z_]+)*)', json.dumps(layout)))
    recorded = "/hands/debug_image/compressed"
    assert f'COMPRESSED_DEBUG_IMAGE = "{recorded}"' in RECORDER.read_text()  # Also published by image_transport.
    assert named - {recorded} == {"/hands", "/hands/markers", "/hands/debug_image", "/diagnostics"} <= PUBLISHED


@pytest.mark.ros
def test_rviz_gets_the_frame_of_the_images(monkeypatch):
    rclpy = pytest.importorskip("rclpy")
    from std_msgs.msg import Header

    from wildhands_ros.ros import rviz

    monkeypatch.setattr("sys.argv", ["wildhands_rviz", "-d", "some.rviz"])
    called = []
    monkeypatch.setattr(rviz.os, "execvp", lambda name, arguments: called.append(arguments))

    def sent(kind, topic, callback, qos):
        callback(kind(header=Header(frame_id="left_camera_optical_frame")))

    monkeypatch.setattr("rclpy.node.Node.create_subscription", lambda self, *arguments: sent(*arguments))
    rviz.main()
    assert called == [["rviz2", "-f", "left_camera_optical_frame", "-d", "some.rviz"]]
    assert not rclpy.ok()
