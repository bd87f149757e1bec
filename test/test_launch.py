"""The launch files and the bringup examples, under real launch.

Neither PyPI nor Debian has launch and tf2_ros: without a ROS distribution these tests are skipped.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="comes with a ROS distribution")
pytest.importorskip("tf2_ros", reason="comes with a ROS distribution")
pytest.importorskip("rclpy")

import numpy as np
import rclpy.time
import tf2_ros
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch_ros.utilities import evaluate_parameters, normalize_parameters
from ros_graph import ENVIRONMENT, Client
from ros_samples import CAMERA
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from wildhands_ros.msg import HandArray
from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.declaration import ros_name
from wildhands_ros.ros.images import encode_image
from wildhands_ros.ros.parameters import Parameters

pytestmark = pytest.mark.ros

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def load(name: str):
    spec = importlib.util.spec_from_file_location(name.partition(".")[0], ROOT / "launch" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def launch_file():
    return load("wildhands.launch.py")


def context(**given) -> LaunchContext:
    context = LaunchContext()
    context.launch_configurations.update(given)
    return context


def test_every_argument_is_described(launch_file):
    arguments = [
        item for item in launch_file.generate_launch_description().entities if isinstance(item, DeclareLaunchArgument)
    ]
    assert len(arguments) == len(launch_file.ARGUMENTS) + len(launch_file.PARAMETERS)
    assert all(argument.description.endswith(".") for argument in arguments)


def test_every_parameter_exists_in_the_node(launch_file):
    # rclpy declares use_sim_time itself.
    names = {ros_name(name) for name in Parameters.__dataclass_fields__} | {"use_sim_time"}
    assert launch_file.PARAMETERS.keys() <= names


def evaluated(launch_file, **given) -> dict:
    """Returns the parameters that launch passes to the node for these arguments."""
    values = context(**dict.fromkeys(launch_file.PARAMETERS, "") | given)
    (parameters,) = evaluate_parameters(values, normalize_parameters([launch_file.given_parameters(values)]))
    return parameters


def test_only_given_arguments_override_the_parameter_file(launch_file):
    assert evaluated(launch_file) == {}
    given = {"rectified": "True", "hand_length": "0.19", "detector.type": "topic"}
    assert evaluated(launch_file, **given) == given | {"rectified": True, "hand_length": 0.19}


def test_texts_that_look_like_numbers_stay_texts(launch_file):
    """Launch guesses types (github.com/ros2/launch/issues/797): 0483 would lose its zero, and the node refuse true."""
    given = {"tf_prefix": "0483", "checkpoint": "true"}
    assert evaluated(launch_file, **given) == given


@pytest.mark.parametrize(("name", "text"), [("rectified", "yes"), ("hand_length", "19cm")])
def test_a_value_of_the_wrong_type_is_rejected_by_name(launch_file, name, text):
    with pytest.raises(ValueError, match=re.escape(f"{name}:={text}")):
        launch_file.given_parameters(context(**dict.fromkeys(launch_file.PARAMETERS, "") | {name: text}))


def test_the_fusion_node_gets_its_cameras_and_only_given_texts():
    fusion = load("fusion.launch.py")
    defaults = {name: default for name, default, _ in fusion.ARGUMENTS}

    def parameters(**given) -> dict:
        values = context(**defaults | given)
        (found,) = evaluate_parameters(values, normalize_parameters([fusion.given_parameters(values)]))
        return found

    assert parameters() == {"cameras": ("left", "right"), "use_sim_time": False}
    given = {"frame": "0483", "extrinsics": "/tmp/poses.yaml"}
    assert parameters(cameras="top, side", **given) == {"cameras": ("top", "side"), "use_sim_time": False, **given}
    with pytest.raises(ValueError, match="cameras:="):
        fusion.given_parameters(context(**defaults | {"cameras": " ,"}))


@pytest.mark.parametrize("text", ["", "left,left", "left,2nd", "a b"])
def test_cameras_need_different_names(text):
    with pytest.raises(ValueError, match="cameras:="):
        load("wildhands_multi.launch.py").named_cameras(text)


class Prefix:
    """A prefix with packages whose programs are scripts of these tests."""

    def __init__(self, folder: Path):
        self.folder = folder

    def share(self, package: str) -> Path:
        """Adds a package, unless it is there, and returns its share folder."""
        index = self.folder / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        share = self.folder / "share" / package
        share.mkdir(exist_ok=True)
        return share

    def add(self, package: str, executable: str, *command: Path) -> None:
        """Adds a program that runs a Python script."""
        self.share(package)
        program = self.folder / "lib" / package / executable
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {" ".join(map(str, command))} "$@"\n')
        program.chmod(0o755)


@pytest.fixture
def prefix(tmp_path) -> Prefix:
    """A prefix with wildhands_ros; the fake estimator of its node finds a hand in every image."""
    prefix = Prefix(tmp_path)
    prefix.add("wildhands_ros", "wildhands_node", TESTS / "live_node.py", tmp_path / "nothing")
    prefix.add("wildhands_ros", "wildhands_cameras", TESTS / "test_several_cameras.py")
    for name in ("config", "launch"):
        (prefix.share("wildhands_ros") / name).symlink_to(ROOT / name)
    return prefix


@pytest.fixture
def launched(tmp_path, prefix):
    """Returns a function that launches a file."""
    started = []
    log = tmp_path / "output"

    def launch(path: Path, **arguments) -> tuple[subprocess.Popen, Path]:
        code = (
            # A shell that runs the tests in the background ignores SIGINT, and its children inherit that.
            "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "from launch import LaunchDescription, LaunchService; "
            "from launch.actions import IncludeLaunchDescription; "
            "from launch.launch_description_sources import PythonLaunchDescriptionSource; service = LaunchService(); "
            "service.include_launch_description(LaunchDescription([IncludeLaunchDescription("
            f"PythonLaunchDescriptionSource({str(path)!r}), "
            f"launch_arguments={list(arguments.items())!r})])); sys.exit(service.run())"
        )
        prefixes = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("AMENT_PREFIX_PATH"))))
        environment = {**os.environ, **ENVIRONMENT, "AMENT_PREFIX_PATH": prefixes, "ROS_LOG_DIR": str(tmp_path / "log")}
        command = [sys.executable, "-c", code]
        with log.open("w") as output:
            started.append(
                subprocess.Popen(
                    command, env=environment, start_new_session=True, stdout=output, stderr=subprocess.STDOUT
                )
            )
        return started[-1], log

    yield launch
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def send(publishers, number: int) -> None:
    header = Header(stamp=Time(sec=1000 + number), frame_id="optical")
    images, infos = publishers
    infos.publish(camera_info(CAMERA, header))
    images.publish(encode_image(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), header))


ONE = {"image": "/cam/image_raw", "camera_info": "/cam/camera_info", "tf_prefix": "one_"}, {"": ("/cam", "one_")}
SEVERAL = {"cameras": "left,rig/right"}, {"/left": ("/left", "left_"), "/rig/right": ("/rig/right", "rig_right_")}
"""Launch arguments, and for each namespace of a node the namespace of its camera and the prefix of its TF frames."""


@pytest.mark.parametrize(
    ("name", "arguments", "places"),
    [
        ("wildhands.launch.py", *ONE),
        ("wildhands_multi.launch.py", *SEVERAL),
        ("wildhands_multi.launch.py", {**SEVERAL[0], "one_process": "true"}, SEVERAL[1]),
    ],
    ids=["one", "several", "several in one process"],
)
def test_launched_nodes_work_and_end_cleanly(launched, name, arguments, places):
    process, log = launched(ROOT / "launch" / name, **arguments)
    client = Client()
    try:
        client.listen("/tf", TFMessage)
        client.listen("/diagnostics", DiagnosticArray)
        for namespace, (camera, prefix) in places.items():
            client.listen(f"{namespace}/hands", HandArray)
            state = lambda namespace=namespace: client.diagnostics(f"{namespace}/wildhands"[1:]).get("state")  # noqa: E731
            client.until(lambda state=state: state() == "active", f"{namespace} is active", timeout=60)
            publishers = (
                client.publisher(f"{camera}/image_raw", Image),
                client.publisher(f"{camera}/camera_info", CameraInfo),
            )
            numbers = iter(range(1000))
            frame = f"{prefix}right_wrist"
            client.until(
                lambda frame=frame: any(
                    item.child_frame_id == frame for tf in client.received["/tf"] for item in tf.transforms
                ),
                f"{frame} is published",
                meanwhile=lambda publishers=publishers, numbers=numbers: send(publishers, next(numbers)),
            )
            client.until(lambda namespace=namespace: client.received[f"{namespace}/hands"], "hands")
        end(process, log)
    finally:
        client.close()


def end(process: subprocess.Popen, log: Path) -> None:
    # As a terminal does at Ctrl-C. Otherwise launch waits 5 s before it ends the nodes.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0
    output = log.read_text()
    assert "Traceback" not in output and "failed to terminate" not in output, output


REALSENSE = """
from launch import LaunchDescription
from launch_ros.actions import Node

def generate_launch_description():
    topics = [(name, f"color/{name}") for name in ("image_raw", "camera_info")]
    where = {"namespace": "/camera/camera", "remappings": topics, "parameters": [{"frame_id": "camera_optical_frame"}]}
    return LaunchDescription([Node(package="realsense2_camera", executable="realsense2_camera_node", **where)])
"""
"""Takes the place of the driver's rs_launch.py; like the driver, its frames hang on camera_link."""


@pytest.mark.parametrize(
    ("name", "root", "wrists"),
    [
        ("usb_camera.launch.py", "base_link", {"/hands": "right_wrist"}),
        ("realsense.launch.py", "base_link", {"/hands": "right_wrist"}),
        (
            "two_cameras.launch.py",
            "table",
            {"/cell/left/hands": "left_right_wrist", "/cell/right/hands": "right_right_wrist"},
        ),
    ],
)
def test_bringup_examples_place_the_hands_on_the_robot(launched, prefix, name, root, wrists):
    for package, executable in (
        ("v4l2_camera", "v4l2_camera_node"),
        ("robot_state_publisher", "robot_state_publisher"),
        ("realsense2_camera", "realsense2_camera_node"),
    ):
        prefix.add(package, executable, TESTS / "camera_driver.py", executable)
    launch_folder = prefix.share("realsense2_camera") / "launch"
    launch_folder.mkdir()
    (launch_folder / "rs_launch.py").write_text(REALSENSE)
    process, log = launched(ROOT / "examples" / "bringup" / name)
    client = Client()
    buffer = tf2_ros.Buffer()
    try:
        client.listen("/tf", TFMessage)
        client.listen("/tf_static", TFMessage, latched=True)
        for topic in wrists:
            client.listen(topic, HandArray)
            client.until(lambda topic=topic: client.received[topic], f"hands on {topic}", timeout=90)
        for wrist in wrists.values():

            def is_connected(wrist=wrist) -> bool:
                for topic in ("/tf", "/tf_static"):
                    for transform in client.received[topic][-1].transforms if client.received[topic] else ():
                        add = buffer.set_transform_static if topic == "/tf_static" else buffer.set_transform
                        add(transform, "test")
                return buffer.can_transform(root, wrist, rclpy.time.Time())

            client.until(is_connected, f"TF connects {root} and {wrist}")
        end(process, log)
    except AssertionError:
        print(log.read_text())
        raise
    finally:
        client.close()
