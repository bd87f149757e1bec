"""Exports of annotated bags: zero stamps, joint states of several publishers, outputs that cannot be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags")

from wildhands_ros.io.images import InputError
from wildhands_ros.recording.actions import CommandTopic
from wildhands_ros.recording.bag_writer import BagWriter
from wildhands_ros.recording.demonstrations import ExportConfig, demonstrations
from wildhands_ros.recording.table_export import export_hdf5, export_parquet

JOINTS = "sensor_msgs/msg/JointState"
ARRAY = "std_msgs/msg/Float64MultiArray"
IMAGE, HANDS = "sensor_msgs/msg/CompressedImage", "wildhands_ros/msg/HandArray"
CONFIG = ExportConfig(lambda *_: np.zeros((4, 4, 3), np.uint8), task="cups")
MILLISECOND = 10**6


def joints(**positions: float) -> SimpleNamespace:
    return SimpleNamespace(name=list(positions), position=list(positions.values()))


class TestJointStates:
    def test_two_publishers_are_joined_by_name(self):
        topic = CommandTopic("/joint_states")
        topic.add(0, joints(shoulder=1, elbow=2), JOINTS)
        topic.add(10, joints(gripper=3), JOINTS)
        topic.add(20, joints(elbow=4, shoulder=5), JOINTS)
        assert topic.names == tuple(f"joint_states.{name}" for name in ("shoulder", "elbow", "gripper"))
        assert topic.at(9) is None
        np.testing.assert_array_equal(topic.at(10), [1, 2, 3])
        np.testing.assert_array_equal(topic.at(25), [5, 4, 3])

    def test_names_without_positions_are_refused(self):
        with pytest.raises(InputError, match="2 names and 0 positions"):
            CommandTopic("/joint_states").add(0, SimpleNamespace(name=["a", "b"], position=[]), JOINTS)

    def test_arrays_of_changing_length_are_refused(self):
        topic = CommandTopic("/command")
        topic.add(0, SimpleNamespace(data=[1.0, 2.0]), ARRAY)
        with pytest.raises(InputError, match="2 numbers, then 3"):
            topic.add(1, SimpleNamespace(data=[1.0, 2.0, 3.0]), ARRAY)


def recording(folder: Path, stamps: list[int], hands_stamps: list[int], later: int = 0) -> Path:
    """Writes images and hands with these stamps; hands are received ``later`` than their images, in nanoseconds."""
    with BagWriter(folder) as writer:
        images, hands = writer.topic("/image/compressed", IMAGE), writer.topic("/hands", HANDS)
        types = writer.types.types
        time, header = types["builtin_interfaces/msg/Time"], types["std_msgs/msg/Header"]
        for number, (stamp, hands_stamp) in enumerate(zip(stamps, hands_stamps, strict=True)):
            received = 10**9 + number * 33 * MILLISECOND

            def head(nanoseconds: int):
                return header(stamp=time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9), frame_id="camera")

            image = types[IMAGE](header=head(stamp), format="jpeg", data=np.zeros(3, np.uint8))
            message = types[HANDS](
                header=head(hands_stamp),
                hand_model="",
                hands=[],
                unresolved=0,
                k=np.eye(3).ravel(),
                width=4,
                height=4,
                distortion_model="",
                d=np.zeros(0),
                intrinsics_source=0,
            )
            writer.write(images, received, writer.types.serialize_cdr(image, IMAGE))
            writer.write(hands, received + later, writer.types.serialize_cdr(message, HANDS))
    return folder


def test_images_without_stamps_are_joined_by_the_time_of_receipt(tmp_path):
    for demonstration in demonstrations(recording(tmp_path / "bag", [0] * 5, [0] * 5), CONFIG):
        stamps = [sample.stamp for sample in demonstration.samples]
        assert stamps == [10**9 + number * 33 * MILLISECOND for number in range(4)]
        assert all(sample.image().shape == (4, 4, 3) for sample in demonstration.samples)


@pytest.mark.parametrize(
    ("stamps", "hands_stamps", "why"),
    [
        ([0] * 5, [0] * 5, "5 images have the stamp 0"),
        ([1, 2, 3, 4, 5], [11, 12, 13, 14, 15], "0 of them have the same stamp.*another camera"),
        ([], [], "0 images.*wildhands annotate"),
    ],
)
def test_hands_that_do_not_belong_to_the_images_say_why(tmp_path, stamps, hands_stamps, why):
    folder = recording(tmp_path / "bag", stamps, hands_stamps, later=MILLISECOND)
    with pytest.raises(InputError, match=why):
        list(demonstrations(folder, CONFIG))


@pytest.mark.parametrize("export", [export_parquet, export_hdf5])
def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path, export):
    pytest.importorskip("pyarrow" if export is export_parquet else "h5py")

    def work():
        pytest.fail("the work began")
        yield

    with pytest.raises(OSError, match="does not exist"):
        export(work(), tmp_path / "none" / "table")
