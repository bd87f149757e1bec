"""The launch file, where ROS 2's launch is installed; PyPI has no wheel of it, so `make test` skips this."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("launch_ros")
pytest.importorskip("rclpy")

from launch import LaunchContext
from launch.actions import DeclareLaunchArgument

from wildhands_ros.ros.parameters import Parameters, ros_name

PATH = Path(__file__).parent.parent / "launch" / "wildhands.launch.py"


@pytest.fixture(scope="module")
def launch_file():
    spec = importlib.util.spec_from_file_location("wildhands_launch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(**given) -> LaunchContext:
    context = LaunchContext()
    context.launch_configurations.update(given)
    return context


def test_every_argument_is_described(launch_file):
    arguments = [item for item in launch_file.generate_launch_description().entities if isinstance(item, DeclareLaunchArgument)]
    assert len(arguments) == len(launch_file.ARGUMENTS) + len(launch_file.PARAMETERS)
    assert all(argument.description.endswith(".") for argument in arguments)


def test_every_parameter_is_one_of_the_nodes(launch_file):
    assert launch_file.PARAMETERS.keys() <= {ros_name(name) for name in Parameters.__dataclass_fields__}


def test_only_what_is_given_overrides_the_parameter_file(launch_file):
    defaults = dict.fromkeys(launch_file.PARAMETERS, "")
    assert launch_file.given_parameters(context(**defaults)) == {}
    given = {"rectified": "True", "hand_length": "0.19", "detector.type": "topic"}
    assert launch_file.given_parameters(context(**defaults | given)) == given | {"rectified": True, "hand_length": 0.19}


@pytest.mark.parametrize(("name", "text"), [("rectified", "yes"), ("hand_length", "19cm")])
def test_a_value_of_the_wrong_kind_is_refused_by_name(launch_file, name, text):
    with pytest.raises(ValueError, match=re.escape(f"{name}:={text}")):
        launch_file.given_parameters(context(**dict.fromkeys(launch_file.PARAMETERS, "") | {name: text}))
