"""Depth images in demonstrations and in LeRobot datasets."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("rosbags")

from bag_samples import BagSample

from wildhands_ros.recording.bag_writer import BagWriter
from wildhands_ros.recording.bags import IMAGE_TYPES, Bag
from wildhands_ros.recording.demonstrations import ExportConfig, demonstrations
from wildhands_ros.ros.depth_images import depth_millimetres
from wildhands_ros.ros.images import decode

LEROBOT = Path(__file__).parent.parent / ".venv-lerobot" / "bin" / "python"
DEPTH = "/camera/depth"
OPEN_IT = """
import sys, numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
dataset = LeRobotDataset("me/depth", root=sys.argv[1], video_backend="pyav")
np.save(sys.argv[2], np.stack([dataset[number]["observation.depth.head"].numpy() for number in range(len(dataset))]))
"""


@pytest.fixture
def bag_with_depth(tmp_path, annotated_bag):
    """The annotated bag with a depth image 10 ms after each image but the third; all pixels have the image's number."""
    sample, images = BagSample(), 0
    with Bag(annotated_bag) as bag, BagWriter(tmp_path / "bag") as writer:
        topics = {each.topic: writer.topic_like(each.topic, each, bag.types) for each in bag.connections}
        depth_topic = writer.topic(DEPTH, "sensor_msgs/msg/Image")
        for connection, received, data in bag.messages():
            writer.write(topics[connection.topic], received, data)
            if connection.msgtype not in IMAGE_TYPES:
                continue
            images += 1
            if images == 3:
                continue
            stamp = bag.read(connection, data).header.stamp
            header = sample.header(stamp.sec + stamp.nanosec / 1e9 + 0.01, "depth")
            depth = sample.depth(header, np.full((24, 32), images / 1000))
            writer.write(depth_topic, received, writer.types.serialize_cdr(depth, "sensor_msgs/msg/Image"))
    return tmp_path / "bag"


def check(depths: np.ndarray) -> None:
    assert depths.shape[1:] == (24, 32) and len(depths) > 4
    assert depths[:, 0, 0].tolist() == [0 if number == 3 else number for number in range(1, len(depths) + 1)]
    assert (depths == depths[:, :1, :1]).all()


def test_demonstrations_have_the_nearest_depth_images(bag_with_depth):
    config = ExportConfig(decode, task="wave", depth=DEPTH, decode_depth=depth_millimetres)
    for demonstration in demonstrations(bag_with_depth, config):
        check(np.stack([sample.depth() for sample in demonstration.samples]))


def test_depth_images_are_not_read_from_a_closed_bag(bag_with_depth):
    config = ExportConfig(decode, task="wave", depth=DEPTH, decode_depth=depth_millimetres)
    (demonstration,) = demonstrations(bag_with_depth, config)
    with pytest.raises(RuntimeError, match="is closed: read its messages while it is open"):
        [sample.depth() for sample in demonstration.samples]


@pytest.mark.slow
@pytest.mark.skipif(not LEROBOT.exists(), reason="make lerobot has not been run")
def test_lerobot_loads_depth_images(bag_with_depth, tmp_path):
    options = ["--repo-id", "me/depth", "--camera", "head", "--depth", DEPTH, "--task", "wave", "--output", "data_set"]
    for command in (
        ["-m", "wildhands_ros.cli.main", "export", "lerobot", str(bag_with_depth), *options],
        ["-c", OPEN_IT, "data_set", "depths.npy"],
    ):
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": "", "LD_LIBRARY_PATH": ""}
        run = subprocess.run([LEROBOT, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    check(np.load(tmp_path / "depths.npy"))
