"""wildhands_cameras: the nodes of several cameras in one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from live_node import FakeEstimator
from ros_graph import Client, NodeProcess
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage

from wildhands_ros.msg import HandArray
from wildhands_ros.ros.camera_names import camera_names, frame_prefix
from wildhands_ros.ros.process import run_main
from wildhands_ros.ros.several_cameras import main

pytestmark = pytest.mark.ros


def test_every_camera_has_its_own_node_and_a_signal_ends_all(tmp_path):
    program = (str(Path(__file__)), "left", "arm/right")
    process, client = NodeProcess(tmp_path / "log", program=program, intrinsics="guess"), Client()
    cameras = ("left", "arm/right")
    image = Image(width=8, height=8, encoding="mono8", step=8, data=bytes(64))
    try:
        publishers = {}
        for camera in cameras:
            client.listen(f"/{camera}/hands", HandArray)
            publishers[camera] = client.publisher(f"/{camera}/image", Image)
        client.listen("/tf", TFMessage)
        client.listen("/diagnostics", DiagnosticArray)

        def publish():
            for camera, publisher in publishers.items():
                image.header = Header(frame_id=frame_prefix(camera))
                publisher.publish(image)

        client.until(lambda: all(client.received[f"/{camera}/hands"] for camera in cameras), "hands", meanwhile=publish)
        for camera in cameras:
            assert {hands.header.frame_id for hands in client.received[f"/{camera}/hands"]} == {frame_prefix(camera)}

        def child_frames() -> set[str]:
            return {one.child_frame_id for message in client.received["/tf"] for one in message.transforms}

        client.until(
            lambda: all(any(name.startswith(frame_prefix(c)) for name in child_frames()) for c in cameras),
            "transforms of both cameras",
            meanwhile=publish,
        )

        def reported() -> set[str]:
            return {status.name.split(":")[0] for found in client.received["/diagnostics"] for status in found.status}

        client.until(lambda: reported() >= {f"{camera}/wildhands" for camera in cameras}, "diagnostics of both nodes")
        # Each node is enabled by itself.
        assert client.call(SetBool, "/left/wildhands/enable", SetBool.Request(data=False)).success
        count = len(client.received["/arm/right/hands"])
        client.until(lambda: len(client.received["/arm/right/hands"]) > count, "the other camera", meanwhile=publish)
        assert process.stop() == 0
        assert "Traceback" not in process.output and "Exception" not in process.output, process.output
    finally:
        client.close()
        process.process.kill()


def test_namespaces_of_the_command_line_are_refused(tmp_path):
    process = NodeProcess(tmp_path / "log", "/other", program=(str(Path(__file__)), "left", "right"))
    assert process.wait() == 1
    assert "each camera has a namespace of its own: leave out __ns" in process.output


@pytest.mark.parametrize("arguments", [[], ["left", "left"], ["2nd"], ["a b"]])
def test_cameras_need_different_names(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["wildhands_cameras", *arguments])
    assert end.value.code == 2 and "CAMERA" in capsys.readouterr().err


def test_names_are_namespaces():
    assert camera_names([" /left/", "arm/right"]) == ["left", "arm/right"]
    assert frame_prefix("arm/right") == "arm_right_"


if __name__ == "__main__":  # python test_several_cameras.py CAMERAS --ros-args ...
    run_main(lambda: main(sys.argv, FakeEstimator))
