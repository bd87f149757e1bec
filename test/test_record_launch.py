"""record.launch.py. Without ROS 2's launch, which neither PyPI nor Debian has, these tests are skipped."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="comes with a ROS distribution")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.utilities import perform_substitutions

PATH = Path(__file__).parent.parent / "launch" / "record.launch.py"


@pytest.fixture(scope="module")
def launch_file():
    spec = importlib.util.spec_from_file_location("record_launch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(launch_file, **given) -> list[str]:
    context = LaunchContext()
    context.launch_configurations.update({name: default for name, default, _ in launch_file.ARGUMENTS} | given)
    (process,) = launch_file.recorder(context)
    return [perform_substitutions(context, word) for word in process.cmd]


def test_every_argument_is_described(launch_file):
    arguments = [
        item for item in launch_file.generate_launch_description().entities if isinstance(item, DeclareLaunchArgument)
    ]
    assert len(arguments) == len(launch_file.ARGUMENTS)
    assert all(argument.description.endswith(".") for argument in arguments)


def test_all_topics_are_recorded_to_mcap(launch_file, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    words = command(launch_file, topics="/joint_states other", output="cups")
    assert words[:5] == ["ros2", "bag", "record", "--storage", "mcap"] and words[words.index("--output") + 1] == "cups"
    recorded = words[words.index("--topics") + 1 :]
    assert recorded == [
        "/image/compressed", "/camera_info", "/hands", "/hands/mesh_topology", "/episodes", "/joint_states", "/other",
    ]  # fmt: skip


def test_older_recorders_take_topics_as_positional_arguments(launch_file, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert command(launch_file)[-5:] == [
        "/image/compressed",
        "/camera_info",
        "/hands",
        "/hands/mesh_topology",
        "/episodes",
    ]
    assert "--topics" not in command(launch_file)


def test_the_reliability_of_the_camera_is_overridden_only_on_request(launch_file):
    plain = launch_file.qos_overrides("image", "camera_info", "hands", "")
    assert plain.keys() == {"/hands", "/hands/mesh_topology", "/episodes"}
    assert plain["/episodes"]["durability"] == "transient_local"
    asked = launch_file.qos_overrides("image", "camera_info", "hands", "best_effort")
    assert asked["/image"]["reliability"] == "best_effort"
    with pytest.raises(ValueError, match="image_reliability"):
        launch_file.qos_overrides("image", "camera_info", "hands", "sometimes")
