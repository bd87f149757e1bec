"""`wildhands view RECORDING`: frames of an annotated bag, the timeline, and the page in the browser."""

from __future__ import annotations

import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import ANNOTATED_IMAGES, MOUNT, PERIOD, START, head_pose, write_bag

from wildhands_ros.cli.main import main
from wildhands_ros.io.errors import InputError
from wildhands_ros.recording.bags import Bag
from wildhands_ros.recording.report import COLOURS, DOUBTED, MISSING, USABLE, Recording, ReportedHand
from wildhands_ros.ros.recording import viewing
from wildhands_ros.ros.recording.viewing import RecordedScene
from wildhands_ros.types import Doubt, HandState, Side
from wildhands_ros.visualization import timeline
from wildhands_ros.visualization.timeline import Timeline

WITHOUT_POSE = ANNOTATED_IMAGES - 1
"""A frame behind the end of TF."""


@pytest.fixture
def scene(annotated_bag):
    with Bag(annotated_bag) as bag:
        yield RecordedScene(bag)


@pytest.mark.parametrize("number", (5, 2))
def test_a_frame_has_its_image_and_its_hands_in_the_world(scene, number):
    """In any order: 5 first, then back to 2."""
    frame = scene(number)
    pose = head_pose(START + PERIOD * number) @ MOUNT
    np.testing.assert_allclose(frame.camera_pose.position, pose.position, atol=1e-4)
    np.testing.assert_allclose(scene.path[number], pose.position, atol=1e-4)
    assert frame.image.shape == (540, 960, 3) and (frame.overlay != frame.image).any()
    assert frame.camera.width == 960 and len(frame.hands) == 2
    for hand in frame.hands:
        in_camera = pose.inverse().apply(hand.joints)
        assert 0.2 < in_camera[0, 2] < 1.0
        # The mesh surrounds the joints.
        assert np.linalg.norm(hand.vertices - hand.joints[:, None], axis=-1).min(axis=1).max() < 0.03
        assert hand.side.value in hand.text and "usable" in hand.text


def test_hands_without_a_camera_pose_have_no_place_in_the_world(scene):
    assert scene(WITHOUT_POSE).camera_pose is None
    assert len(scene.path) == len(scene.recording.stamps) - 2


def test_a_bag_without_hands_is_refused_with_what_to_do(tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", images=2)
    with Bag(bag) as opened, pytest.raises(InputError, match="run wildhands annotate"):
        RecordedScene(opened)
    assert main(["view", str(bag), "--no-browser"]) == 2
    assert "run wildhands annotate" in capsys.readouterr().err


def test_the_command_shows_bags_with_the_viewer_of_recordings(annotated_bag, monkeypatch):
    shown = []
    monkeypatch.setattr(viewing, "view_recording", lambda *arguments: shown.append(arguments))
    assert main(["view", str(annotated_bag), "--no-browser", "--port", "8232"]) == 0
    assert shown == [(annotated_bag, "127.0.0.1", 8232, False)]


def test_the_viewer_follows_its_controls(scene):
    pytest.importorskip("viser", reason="the viewer is an extra")
    from wildhands_ros.visualization.recording_viewer import RecordingViewer

    read = []
    frame_of = lambda number: read.append(number) or scene(number)  # noqa: E731
    viewer = RecordingViewer(scene.recording, frame_of, scene.path, scene.faces, port=8233)
    try:
        viewer.update()
        viewer.update()
        assert read == [0] and "frame 0" in viewer.text
        viewer.slider.value = WITHOUT_POSE
        viewer.update()
        assert read == [0, WITHOUT_POSE] and "pose of the camera unknown" in viewer.text
        viewer.slider.value = 1
        viewer.update()
        viewer.playing.value = True
        while viewer.slider.value < 4:
            viewer.update()
        assert read[2] == 1 and read[2:] == sorted(read[2:])
        with urllib.request.urlopen(viewer.url, timeout=10) as page:
            assert page.status == 200
    finally:
        viewer.close()


def test_the_timeline_shows_masks_plots_and_the_cursor():
    good = SimpleNamespace(side=Side.RIGHT, doubts=Doubt.NONE, usable=True)
    hands = [[reported(good)]] * 50 + [
        [reported(SimpleNamespace(side=Side.RIGHT, doubts=Doubt.JUMP, usable=False))]
    ] * 30
    hands += [[]] * 20
    recording = Recording("test", np.arange(100) / 30, hands, lambda _: None)
    drawn = Timeline(recording)
    image = drawn.at(10)
    right = image[timeline.ROW // 2 if next(iter(Side)) is Side.RIGHT else timeline.ROW + timeline.GAP + 5]
    columns = timeline.LEFT + np.array([0.25, 0.65, 0.9]) * (timeline.WIDTH - timeline.LEFT)
    for column, kind in zip(columns.astype(int), (USABLE, DOUBTED, MISSING), strict=True):
        assert tuple(right[column]) == tuple(bytes.fromhex(COLOURS[kind][1:]))
    cursors = [np.flatnonzero((drawn.at(n) == timeline.CURSOR).all(axis=-1).all(axis=0)) for n in (0, 10, 99)]
    assert [len(found) for found in cursors] == [1, 1, 1]
    assert cursors[0][0] == timeline.LEFT < cursors[1][0] < cursors[2][0] == timeline.WIDTH - 1


def reported(hand: SimpleNamespace) -> ReportedHand:
    return ReportedHand(hand.side, "hand_1", HandState.SEEN, hand.doubts, hand.usable, np.array([0, 0, 0.5]), 0.5, 0.8)
