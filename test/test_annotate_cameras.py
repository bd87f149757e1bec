"""Annotation of recordings of several cameras: the same fusion as live, in the frame of the main camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import CALIBRATION, DEMO, PERIOD, START, TF, BagSample, through_jpeg
from scipy.spatial.transform import Rotation

from wildhands_ros.cli.main import main
from wildhands_ros.config import EstimatorConfig
from wildhands_ros.estimator import Estimator
from wildhands_ros.fitting.hand_fusion import HandFusion, observe
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.io.extrinsics_files import Extrinsics, save_extrinsics
from wildhands_ros.io.images import InputError
from wildhands_ros.io.sources import open_source
from wildhands_ros.recording.bags import Bag
from wildhands_ros.ros.recording.annotation import annotate
from wildhands_ros.ros.recording.image_streams import AnnotationOptions, RigOptions
from wildhands_ros.ros.recording.report import write_reports
from wildhands_ros.runtime.processes import Workers
from wildhands_ros.synthetic.config import VIEWS
from wildhands_ros.synthetic.demo_clip.clip import CAMERA, DemoClip
from wildhands_ros.synthetic.render import render
from wildhands_ros.synthetic.views import seen_from

pytestmark = pytest.mark.slow

CONFIG = EstimatorConfig(checkpoint="none")
COUNT = 2
WORLD = Pose(Rotation.from_euler("xyz", [100, 5, 20], degrees=True).as_matrix(), np.array([0.3, -0.2, 1.4]))
"""Pose of the main camera in the world."""
LATER = 0.004
"""Seconds by which the other camera's images are later."""


class Recording:
    """The clip as two cameras see it."""

    def __init__(self) -> None:
        clip = DemoClip()
        frames = open_source(str(DEMO / "clip.mp4"))
        self.left = [frame.image for _, frame in zip(range(COUNT), frames, strict=False)]
        self.truth = [clip.ground_truth(PERIOD * i) for i in range(COUNT)]
        centre = np.mean([hand.joints.mean(0) for hand in self.truth[0].hands], axis=0)
        turn = Rotation.from_euler("y", -60, degrees=True).as_matrix()
        self.right_in_left = Pose(turn, centre - turn @ [0, 0, np.linalg.norm(centre)])
        self.right = []
        for i in range(COUNT):
            scene = seen_from(clip.scene(PERIOD * i), CAMERA, self.right_in_left, VIEWS, np.random.default_rng(0))
            self.right.append(render(scene).image)
        self.poses = {"left": WORLD, "right": WORLD @ self.right_in_left}

    def write(self, folder: Path, tf: bool = False) -> Path:
        """Writes both cameras to a bag, with their poses as static TF if wanted."""
        sample = BagSample()
        for i, images in enumerate(zip(self.left, self.right, strict=True)):
            stamp = START + i * PERIOD
            sample.add_image("/left", stamp, "left_optical", images[0])
            sample.add_image("/right", stamp + LATER, "right_optical", images[1])
        if tf:
            transforms = [
                sample.transform(START, "world", f"{name}_optical", pose) for name, pose in self.poses.items()
            ]
            sample.add(START - 1, "/tf_static", TF, sample.types[TF](transforms=transforms))
        return sample.write(folder)

    def extrinsics(self, folder: Path) -> Path:
        """Writes the poses of both cameras to a file."""
        save_extrinsics(folder / "extrinsics.yaml", Extrinsics("world", self.poses))
        return folder / "extrinsics.yaml"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording()


def messages_of(folder: Path, topic_name: str) -> list:
    with Bag(folder) as bag:
        return [bag.read(topic, data) for topic, _, data in bag.messages() if topic.topic == topic_name]


def fuse(bag: Path, folder: Path, extrinsics: Path | None) -> list[str]:
    options = AnnotationOptions(rig=RigOptions({"left": "", "right": ""}, extrinsics))
    return annotate(bag, folder, options, CONFIG, {}, Workers(1, map))


def test_hands_of_two_cameras_are_fused_in_the_frame_of_the_main_one(tmp_path, recording) -> None:
    extrinsics = recording.extrinsics(tmp_path)
    assert fuse(recording.write(tmp_path / "bag"), tmp_path / "out", extrinsics) == []
    found, in_world = messages_of(tmp_path / "out", "/hands"), messages_of(tmp_path / "out", "/hands/world")
    assert len(found) == len(in_world) == COUNT
    estimators, fusion = {name: Estimator(CONFIG) for name in recording.poses}, None
    for i, (message, world) in enumerate(zip(found, in_world, strict=True)):
        assert message.header.frame_id == "left_optical" and world.header.frame_id == "world"
        observed = {}
        for (name, pose), images in zip(recording.poses.items(), (recording.left, recording.right), strict=True):
            image, stamp = through_jpeg(images[i]), START + i * PERIOD + LATER * (name == "right")
            camera = CALIBRATION.for_image(image)
            hands = estimators[name](image, camera, stamp).hands
            observed[name] = [each for hand in hands if (each := observe(hand, camera, pose, stamp)) is not None]
        fusion = fusion or HandFusion(estimators["left"].hand_model)
        result = fusion.update(START + i * PERIOD, observed)
        expected = {hand.side.value: hand.hand.joints for hand in result.hands}
        assert len(expected) == 2
        truth = {hand.side.value: hand.joints for hand in recording.truth[i].hands}
        for hand, moved in zip(message.hands, world.hands, strict=True):
            side = "right" if hand.side == hand.SIDE_RIGHT else "left"
            assert hand.views == ["left", "right"] and hand.source == hand.SOURCE_FUSION
            assert hand.depth == hand.DEPTH_NONE and np.isfinite(hand.hand_length)
            joints = np.reshape(hand.joints, (21, 3))
            np.testing.assert_allclose(np.reshape(moved.joints, (21, 3)), WORLD.apply(joints), atol=2e-4)
            np.testing.assert_allclose(np.reshape(moved.joints, (21, 3)), expected[side], atol=1e-3)
            np.testing.assert_allclose(np.reshape(hand.joints_2d, (21, 2)), CAMERA.project(joints), atol=0.3)
            assert np.linalg.norm(joints[0] - truth[side][0]) < 0.03
            assert np.isfinite(hand.keypoints).all() and np.isfinite(hand.reprojection_error)
    write_reports([tmp_path / "out"], tmp_path / "report.html")
    assert "<td>0 %</td><td>100 %</td><td>0 %</td><td>-</td>" in (tmp_path / "report.html").read_text()


def test_poses_are_taken_from_tf_without_a_file(tmp_path, recording) -> None:
    bag = recording.write(tmp_path / "bag", tf=True)
    assert fuse(bag, tmp_path / "out", None) == []
    assert not messages_of(tmp_path / "out", "/hands/world")
    for message, truth in zip(messages_of(tmp_path / "out", "/hands"), recording.truth, strict=True):
        wrists = {hand.side.value: hand.joints[0] for hand in truth.hands}
        assert message.header.frame_id == "left_optical" and len(message.hands) == 2
        for hand in message.hands:
            side = "right" if hand.side == hand.SIDE_RIGHT else "left"
            assert hand.views == ["left", "right"]
            assert np.linalg.norm(np.asarray(hand.joints[:3]) - wrists[side]) < 0.03


def test_cameras_without_poses_are_refused_with_a_hint(tmp_path, recording) -> None:
    with pytest.raises(InputError, match="there is no TF in this recording.*--extrinsics FILE"):
        fuse(recording.write(tmp_path / "bag"), tmp_path / "out", None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--cameras", "left"], "at least two distinct names"),
        (["--cameras", "left", "left=/a"], "at least two distinct names"),
        (["--cameras", "left", "right", "--fov", "60"], "each camera has its own"),
        (["--cameras", "left", "right", "--no-fit"], "--no-fit excludes"),
        (["--extrinsics", "file.yaml"], "--extrinsics needs --cameras"),
    ],
)
def test_options_that_contradict_each_other_are_named(tmp_path, capsys, arguments, text) -> None:
    assert main(["annotate", str(tmp_path), "--jobs", "1", *arguments]) == 2
    assert text in capsys.readouterr().err
