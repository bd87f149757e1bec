"""Exports of a real annotated recording: world frame, quality, visibility, OpenXR's joints, EgoDex' layout."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import ANNOTATED_IMAGES as COUNT
from bag_samples import MOUNT, PERIOD, START, altered, head_pose
from scipy.spatial.transform import Rotation

from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.io.errors import InputError
from wildhands_ros.recording import openxr
from wildhands_ros.recording.actions import CommandTopic
from wildhands_ros.recording.bags import Bag
from wildhands_ros.recording.demonstrations import CAMERA_POSE_TOPIC, ExportConfig, demonstrations
from wildhands_ros.recording.egodex_export import NAMES, export_egodex
from wildhands_ros.recording.features import QUALITY_NAMES, VISIBILITY_NAMES, WORLD_NAMES
from wildhands_ros.recording.report import report_html
from wildhands_ros.recording.table_export import export_hdf5, export_parquet
from wildhands_ros.ros.images import decode
from wildhands_ros.ros.recording.report import read_recording
from wildhands_ros.ros.recording.viewing import RecordedScene
from wildhands_ros.types import ManoParameters, Side

CONFIG = ExportConfig(decode, task="wave")
STAMPS = START + PERIOD * np.arange(COUNT)


def known(stamps: np.ndarray) -> np.ndarray:
    return stamps <= START - 0.02 + 0.02 * 12


def test_messages_have_visibility_and_quality(annotated_bag):
    with Bag(annotated_bag) as bag:
        arrays = [bag.read(topic, data) for topic, _, data in bag.messages() if topic.topic == "/hands"]
    hands = [hand for message in arrays for hand in message.hands]
    assert len(hands) >= COUNT
    for hand in hands:
        assert np.isfinite(hand.joints_visibility).all() and np.max(hand.joints_visibility) > 0.5
        assert hand.doubts & 32 == 0 and hand.state in (0, 1, 2, 3)
        assert hand.usable is (hand.doubts == 0 and hand.state in (0, 3)) or hand.usable == (hand.doubts == 0)


def test_parquet_has_world_quality_and_visibility(tmp_path, annotated_bag):
    parquet = pytest.importorskip("pyarrow.parquet")
    export_parquet(demonstrations(annotated_bag, CONFIG), tmp_path / "table.parquet")
    table = parquet.read_table(tmp_path / "table.parquet").to_pydict()
    for name in (*(f"quality.{n}" for n in QUALITY_NAMES), *(f"visibility.{n}" for n in VISIBILITY_NAMES)):
        assert name in table
    valid = np.array(table["world.camera.valid"])
    stamps = np.array(table["stamp"]) / 1e9
    np.testing.assert_array_equal(valid == 1, known(stamps))
    for number, stamp in enumerate(stamps):
        if not valid[number]:
            assert all(table[f"world.{name}"][number] == 0 for name in WORLD_NAMES)
            continue
        pose = head_pose(stamp) @ MOUNT
        for side in ("right", "left"):
            if not table[f"state.{side}.valid"][number]:
                continue
            camera, world = (
                np.array([table[f"{group}.{side}.joint.index_tip.{axis}"][number] for axis in "xyz"])
                for group in ("state", "world")
            )
            np.testing.assert_allclose(world, pose.apply(camera), atol=1e-3)


def test_hdf5_has_openxr_joints_with_validity(tmp_path, annotated_bag):
    h5py = pytest.importorskip("h5py")
    export_hdf5(demonstrations(annotated_bag, CONFIG), tmp_path / "table.h5")
    with h5py.File(tmp_path / "table.h5") as file:
        demo = file["data/demo_0"]
        assert list(file["data"].attrs["openxr_joints"]) == list(openxr.JOINTS)
        assert demo["world"].shape == (COUNT - 1, len(WORLD_NAMES)) and demo["quality"].dtype == np.int64
        poses, flags = demo["openxr/right/poses"][:], demo["openxr/right/flags"][:]
        assert poses.shape == (COUNT - 1, 26, 7) and flags.shape == (COUNT - 1, 26)
        valid = flags[:, 0] & openxr.POSITION_VALID > 0
        assert valid.any() and set(np.unique(flags)) <= {0, 3, 15}
        np.testing.assert_allclose(np.linalg.norm(poses[valid][:, :, 3:], axis=-1), 1, atol=1e-5)


def test_egodex_layout(tmp_path, annotated_bag):
    h5py = pytest.importorskip("h5py")
    summary = export_egodex(demonstrations(annotated_bag, CONFIG), tmp_path / "egodex")
    assert (summary.episodes, summary.frames) == (1, COUNT - 1)
    assert len(NAMES) == 25 and (tmp_path / "egodex" / "0.mp4").stat().st_size > 1000
    with h5py.File(tmp_path / "egodex" / "0.hdf5") as file:
        assert file.attrs["llm_description"] == "wave" and file.attrs["frame"] == "odom"
        assert file["camera/intrinsic"].shape == (3, 3)
        stamps = file["stamp"][:] / 1e9
        for number, stamp in enumerate(stamps):
            if known(stamps)[number]:
                pose = head_pose(stamp) @ MOUNT
                matrix = file["transforms/camera"][number]
                np.testing.assert_allclose(matrix[:3, 3], pose.position, atol=1e-4)
                np.testing.assert_allclose(matrix[:3, :3], pose.rotation, atol=1e-4)
        for side in ("left", "right"):
            for joint in ("Hand", "IndexFingerTip", "LittleFingerMetacarpal", "ThumbKnuckle"):
                assert file[f"transforms/{side}{joint}"].shape == (len(stamps), 4, 4)
                assert file[f"confidences/{side}{joint}"].shape == (len(stamps),)
        assert (file["confidences/rightHand"][:][~known(stamps)] == 0).all()
    with pytest.raises(FileExistsError, match="already exists"):
        export_egodex(demonstrations(annotated_bag, CONFIG), tmp_path / "egodex")


@pytest.mark.parametrize(
    ("field", "value", "is_refused"),
    [("side", 0, False), ("side", 7, False), ("state", 9, True), ("doubts", 999, True)],
)
def test_hands_with_impossible_values_are_left_out_or_refused(tmp_path, annotated_bag, field, value, is_refused):
    def change(topic, message):
        if topic == "/hands":
            for hand in message.hands[:1]:
                setattr(hand, field, value)

    file = altered(annotated_bag, tmp_path / "bag.mcap", change)
    if is_refused:
        with pytest.raises(InputError, match=r"bag\.mcap is damaged or not an annotated recording"):
            read_recording(file)
        return
    found, known_hands = read_recording(file), read_recording(annotated_bag)
    assert [len(hands) for hands in found.hands] == [len(hands) - 1 for hands in known_hands.hands]
    with Bag(file) as bag:
        scene = RecordedScene(bag)
        assert len(scene(0).hands) == len(found.hands[0])


def test_the_name_of_a_track_is_no_markup(tmp_path, annotated_bag):
    """The page of ``view`` renders Markdown, and HTML in it."""

    def change(topic, message):
        if topic == "/hands":
            message.hands[0].id = '**"<iframe src=//a.b>![](//a.b)\n# ' + 1000 * "a"

    with Bag(altered(annotated_bag, tmp_path / "bag.mcap", change)) as bag:
        text = RecordedScene(bag)(0).hands[0].text
    assert len(text) < 200 and text.count("**") == 2 and not set(text) & set('<>![]"\n#/')
    page = report_html([read_recording(tmp_path / "bag.mcap")])
    assert "iframe" not in page


@pytest.mark.parametrize(
    ("field", "value"), [("task", "wa\0ve"), ("task", "w" * 10**6), ("frame", "a\0b"), ("frame", "a" * 10**6), ("k", 0)]
)
def test_texts_and_cameras_that_cannot_be_stored_are_refused(tmp_path, annotated_bag, field, value):
    def change(topic, message):
        if field == "frame" and topic == CAMERA_POSE_TOPIC:
            message.header.frame_id = value
        if field == "k" and topic == "/hands":
            message.k = np.full(9, np.nan)

    file = altered(annotated_bag, tmp_path / "bag.mcap", change)
    config = CONFIG if field != "task" else replace(CONFIG, task=value)
    match = "characters" if field != "k" else "camera matrix of the hands at .* is impossible"
    with pytest.raises(InputError, match=rf"bag\.mcap: .*{match}"):
        export_egodex(demonstrations(file, config), tmp_path / "egodex")
    assert {path.name for path in tmp_path.iterdir()} == {"bag.mcap"}


def test_the_names_of_a_command_have_limits():
    for names in ([f"joint_{number}" for number in range(2000)], ["a" * 2000], ["a\0b"]):
        message = SimpleNamespace(name=names, position=[0.0] * len(names))
        with pytest.raises(InputError, match=f"/joints: a message has {len(names)} numbers"):
            CommandTopic("/joints").add(0, message, "sensor_msgs/msg/JointState")


def test_a_wrist_that_is_nowhere_is_refused(tmp_path, annotated_bag):
    def change(topic, message):
        if topic == "/hands":
            message.hands[0].joints = np.full(63, np.inf, np.float32)

    file = altered(annotated_bag, tmp_path / "bag.mcap", change)
    with pytest.raises(InputError, match=r"bag\.mcap .*the wrist of a hand is \[inf"):
        read_recording(file)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path, annotated_bag):
    def change(topic, message):
        if topic.endswith("compressed"):
            message.data = message.data[:1000]

    file = altered(annotated_bag, tmp_path / "bag.mcap", change)
    with Bag(file) as bag, pytest.raises(InputError, match=r"bag\.mcap"):
        RecordedScene(bag)(0)
    with pytest.raises(InputError, match=r"the image with the stamp \d+ ns in .*bag\.mcap is damaged"):
        export_egodex(demonstrations(file, CONFIG), tmp_path / "egodex")
    assert {path.name for path in tmp_path.iterdir()} == {"bag.mcap"}


def test_stamps_that_span_years_do_not_fill_the_memory(tmp_path, annotated_bag):
    def change(topic, message):
        if hasattr(message, "header") and message.header.stamp.nanosec == 0:  # the first image, and what belongs to it
            message.header.stamp.sec = 1

    file = altered(annotated_bag, tmp_path / "bag.mcap", change)
    with pytest.raises(InputError, match=r"bag\.mcap: the \d images .* span 99 s"):
        list(demonstrations(file, CONFIG))


@pytest.mark.parametrize("side", list(Side))
def test_axes_of_openxr_joints(side):
    """-z points along the bone, y out of the back of the hand; the frames are right-handed."""
    poser = HandPoser(open_hands())
    mano = ManoParameters(np.zeros(3), np.array([0.3, -0.8, 0.2]), np.full(45, 0.05), np.zeros(10))
    joints = poser.joints(mano, side).joints.astype(float)
    poses = openxr.joint_poses(joints, mano, side)
    axes = Rotation.from_quat(poses[:, 3:]).as_matrix()
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-9)
    at = openxr.JOINTS.index
    np.testing.assert_allclose(poses[at("index_tip"), :3], joints[8])
    np.testing.assert_allclose(poses[at("thumb_metacarpal"), :3], joints[1])
    bone = poses[at("ring_distal"), :3] - poses[at("ring_intermediate"), :3]
    np.testing.assert_allclose(-axes[at("ring_intermediate"), :, 2], bone / np.linalg.norm(bone), atol=1e-9)
    back = Rotation.from_rotvec(mano.global_orient).apply([0, 1, 0])
    assert axes[at("middle_metacarpal"), :, 1] @ back > 0.9
