"""Annotation of recordings with a depth camera: the same estimates as of the estimator with the same depth images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import CALIBRATION, DEMO, FRAME_ID, INFO, PERIOD, START, TF, BagSample, through_jpeg

from wildhands_ros.config import EstimatorConfig
from wildhands_ros.estimator import Estimator
from wildhands_ros.geometry.depth_image import DepthImage
from wildhands_ros.io.images import InputError
from wildhands_ros.io.sources import open_source
from wildhands_ros.recording import annotation as engine
from wildhands_ros.recording.bags import Bag
from wildhands_ros.ros.recording.annotation import annotate
from wildhands_ros.ros.recording.depth_streams import DepthOptions
from wildhands_ros.ros.recording.image_streams import AnnotationOptions
from wildhands_ros.runtime.processes import Workers
from wildhands_ros.synthetic.demo_clip.clip import DemoClip
from wildhands_ros.synthetic.depth import STEREO, depth_image
from wildhands_ros.types import DepthStatus

pytestmark = pytest.mark.slow

CONFIG = EstimatorConfig(checkpoint="none")
THIS_PROCESS = Workers(1, map)
DEPTH_TOPIC, DEPTH_FRAME = "/camera/depth/image_rect_raw", "depth_optical"
COUNT = 3


@pytest.fixture(scope="module")
def depths() -> list[DepthImage]:
    clip = DemoClip()
    return [depth_image(clip.scene(PERIOD * i), STEREO, np.random.default_rng(i)) for i in range(COUNT)]


def write(folder: Path, depths: list[DepthImage], late: float = 0.0, info: bool = True, tf: bool = True) -> Path:
    """Writes images of the clip with depth images that are not aligned and arrive 0.1 s after the images.

    Args:
        folder: The new bag.
        depths: The depth images.
        late: Seconds by which their stamps are later.
        info: Whether there is a CameraInfo of the depth camera.
        tf: Whether static TF has its pose.
    """
    sample = BagSample()
    frames = open_source(str(DEMO / "clip.mp4"))
    for i, (depth, frame) in enumerate(zip(depths, frames, strict=False)):
        stamp = START + i * PERIOD
        sample.add_image("/camera/color", stamp, FRAME_ID, frame.image)
        header = sample.header(stamp + late, DEPTH_FRAME)
        sample.add(stamp + 0.1, DEPTH_TOPIC, "sensor_msgs/msg/Image", sample.depth(header, depth.depth))
        if info:
            sample.add(stamp + 0.1, "/camera/depth/camera_info", INFO, sample.info(header, depth.camera))
    if tf:
        transform = sample.transform(START, FRAME_ID, DEPTH_FRAME, depths[0].pose)
        sample.add(START - 1, "/tf_static", TF, sample.types[TF](transforms=[transform]))
    return sample.write(folder)


def hands_of(folder: Path) -> list:
    with Bag(folder) as bag:
        return [bag.read(topic, data) for topic, _, data in bag.messages() if topic.topic == "/hands"]


def annotated(bag: Path, folder: Path, **options) -> tuple[list, list[str]]:
    problems = annotate(bag, folder, AnnotationOptions(**options), CONFIG, {}, THIS_PROCESS)
    return hands_of(folder), problems


def test_depth_images_of_a_bag_are_registered_and_used(tmp_path, depths) -> None:
    found, problems = annotated(write(tmp_path / "bag", depths), tmp_path / "out")
    assert problems == [] and len(found) == COUNT
    estimator = Estimator(CONFIG)
    for i, frame in zip(range(COUNT), open_source(str(DEMO / "clip.mp4")), strict=False):
        depth = DepthImage(
            (np.round(depths[i].depth * 1000).astype(np.uint16) * np.float32(0.001)).astype(np.float32),
            depths[i].camera,
            depths[0].pose,
            STEREO.noise.of_sensor("stereo"),
        )
        image = np.asarray(frame.image)
        expected = estimator(through_jpeg(image), CALIBRATION.for_image(image), START + i * PERIOD, depth=depth)
        assert {hand.depth for hand in expected.hands} == {DepthStatus.USED}
        joints = {hand.side.value: hand.joints for hand in expected.hands}
        contact = {hand.side.value: hand.object_contact for hand in expected.hands}
        assert len(found[i].hands) == len(joints) == 2
        for hand in found[i].hands:
            assert hand.depth == hand.DEPTH_USED and hand.source & hand.SOURCE_DEPTH
            side = "right" if hand.side == hand.SIDE_RIGHT else "left"
            np.testing.assert_allclose(np.reshape(hand.joints, (21, 3)), joints[side], atol=1e-5)
            assert np.isfinite(hand.object_contact).any()
            np.testing.assert_allclose(hand.object_contact, contact[side], atol=1e-4)
            assert 0.15 < hand.hand_length < 0.22


@pytest.mark.parametrize(
    ("options", "depth", "status", "text"),
    [
        ({}, DepthOptions("off"), "DEPTH_NONE", None),
        ({"late": 0.1}, DepthOptions(), "DEPTH_LATE", "100 ms younger"),
        ({"info": False}, DepthOptions(), "DEPTH_UNUSABLE", "no CameraInfo beside"),
        ({"tf": False}, DepthOptions(), "DEPTH_UNUSABLE", "TF in the recording"),
    ],
    ids=["off", "late", "without CameraInfo", "without TF"],
)
def test_unusable_depth_is_named_and_colour_remains(tmp_path, depths, options, depth, status, text) -> None:
    found, problems = annotated(write(tmp_path / "bag", depths[:2], **options), tmp_path / "out", depth=depth)
    hands = [hand for message in found for hand in message.hands]
    assert hands and {hand.depth for hand in hands} == {getattr(hands[0], status)}
    assert not any(hand.source & hand.SOURCE_DEPTH for hand in hands)
    assert all(np.isnan(hand.object_contact).all() for hand in hands)
    assert (problems == []) if text is None else text in problems[0]


def test_each_segment_begins_with_the_lengths_that_the_whole_recording_tells(tmp_path, depths, monkeypatch) -> None:
    monkeypatch.setattr(engine, "SEGMENT_LENGTH", 1)
    monkeypatch.setattr(engine, "WARM_UP", 0)
    bag = write(tmp_path / "bag", depths[:2])

    def lengths(name: str, samples: int, workers: Workers) -> list[tuple[int, float, float]]:
        monkeypatch.setattr(engine, "MOST_SAMPLES", samples)
        annotate(bag, tmp_path / name, AnnotationOptions(), CONFIG, {}, workers)
        hands = [hand for message in hands_of(tmp_path / name) for hand in message.hands]
        return [(hand.side, hand.hand_length, hand.hand_length_stddev) for hand in hands]

    each = lengths("each", 0, THIS_PROCESS)
    together = lengths("together", 2, THIS_PROCESS)
    assert len(each) == len(together) == 4
    assert all(after < before for (*_, before), (*_, after) in zip(each, together, strict=True))
    assert np.ptp([length for side, length, _ in together if side == together[0][0]]) < 0.002
    # The same for any number of processes, in whatever order they end.
    assert lengths("reversed", 2, Workers(3, lambda work, items: reversed(list(map(work, items))))) == together


def test_samples_of_a_recording_are_spread_evenly() -> None:
    assert engine.length_samples(0) == engine.length_samples(2 * engine.SEGMENT_LENGTH - 1) == []
    long = engine.length_samples(100 * engine.SEGMENT_LENGTH)
    assert len(long) == engine.MOST_SAMPLES
    assert np.ptp(np.diff([span.first for span in long])) <= 1
    assert all(span.last - span.first + 1 == engine.SAMPLE_LENGTH for span in long)


def test_the_topic_of_the_depth_images_must_be_in_the_bag(tmp_path, depths) -> None:
    bag = write(tmp_path / "bag", depths[:1])
    with pytest.raises(InputError, match=f"no depth images on /other; it has depth images on: {DEPTH_TOPIC}"):
        annotated(bag, tmp_path / "out", depth=DepthOptions("/other"))
