"""The node's parameters: declaration, documentation, and the reference file."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy")

import rclpy

from wildhands_ros.config import EstimatorConfig, SmoothingConfig
from wildhands_ros.ros.declaration import ParameterError, ros_name
from wildhands_ros.ros.parameters import Parameters, declare, descriptor
from wildhands_ros.ros.reference import reference_yaml

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).parent.parent / "config" / "wildhands.yaml"


@pytest.fixture(scope="module")
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def declared(context):
    """Returns a function that declares the parameters of a node with overrides."""
    nodes = []

    def declare_with(*files: Path, **overrides) -> Parameters:
        values = [rclpy.parameter.Parameter(ros_name(name), value=value) for name, value in overrides.items()]
        arguments = ["--ros-args", *(word for file in files for word in ("--params-file", str(file)))] if files else []
        nodes.append(
            rclpy.create_node("parameters_test", context=context, parameter_overrides=values, cli_args=arguments)
        )
        return declare(nodes[-1])

    yield declare_with
    for node in nodes:
        node.destroy_node()


def test_reference_file_is_up_to_date():
    assert CONFIG.read_text() == reference_yaml(), "python -m wildhands_ros.ros.reference"


def test_every_key_of_the_reference_file_has_a_comment():
    lines = CONFIG.read_text().splitlines()
    keys = [(number, line) for number, line in enumerate(lines) if ": " in line and not line.lstrip().startswith("#")]
    assert len(keys) == len(fields(Parameters))
    for number, line in keys:
        assert lines[number - 1].lstrip().startswith("#"), line


def test_reference_file_sets_every_default(declared):
    assert declared(CONFIG) == Parameters() == declared()
    assert list(yaml.safe_load(CONFIG.read_text())) == ["/**"]


def test_parameters_are_frozen(declared):
    with pytest.raises(FrozenInstanceError):
        declared().max_hands = 3


def test_overrides_are_used(declared):
    parameters = declared(
        detector__max_hands=4, detector__left_class_ids=["l", "L"], hand_length=0.19, intrinsics="guess"
    )
    assert parameters.detector__max_hands == 4 and parameters.detector__left_class_ids == ("l", "L")
    assert parameters.hand_length == 0.19 and parameters.intrinsics == "guess"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"tf": "some"}, ("tf", "off, wrist, joints")),
        ({"detector__max_hands": 0}, ("detector.max_hands", "0")),
        ({"hand_length": 19.0}, ("hand_length", "0.3")),
        ({"rectified": "yes"}, ("rectified", "BOOL")),
        ({"intrinsics": "horizontal_fov"}, ("horizontal_fov", "radians")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_values_are_rejected_with_the_reason(declared, overrides, words):
    with pytest.raises(ParameterError) as raised:
        declared(**overrides)
    for word in words:
        assert word in str(raised.value)


def test_values_of_another_type_are_used_if_nothing_is_lost(declared):
    parameters = declared(
        markers_max_rate=10, detector__max_hands=3.0, detector__left_class_ids=[0, 7], detector__right_class_ids=["1"]
    )
    assert parameters.markers_max_rate == 10.0 and isinstance(parameters.markers_max_rate, float)
    assert parameters.detector__max_hands == 3 and isinstance(parameters.detector__max_hands, int)
    assert parameters.detector__left_class_ids == ("0", "7")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("markers_max_rate", 2**53 + 1),
        ("markers_max_rate", 10**4),
        ("markers_max_rate", True),
        ("markers_max_rate", "10"),
        ("detector__max_hands", 2.5),
        ("detector__left_class_ids", "left"),
        ("detector__left_class_ids", [True]),
        ("rectified", 1),
    ],
)
def test_values_of_another_type_are_rejected_if_something_would_be_lost(declared, name, value):
    with pytest.raises(ParameterError, match=ros_name(name)):
        declared(**{name: value})


def test_an_empty_list_has_no_elements(context, declared):
    arguments = ["--ros-args", "-p", "detector.hand_class_ids:=[]"]
    node = rclpy.create_node("empty_list_test", context=context, cli_args=arguments)
    try:
        assert declare(node).detector__hand_class_ids == ()
        assert list(node.get_parameter("detector.hand_class_ids").value) == []
        (result,) = node.set_parameters([rclpy.parameter.Parameter("detector.hand_class_ids", value=["palm"])])
        assert result.successful
    finally:
        node.destroy_node()


def test_values_of_another_type_can_be_set_later(context):
    node = rclpy.create_node("set_test", context=context)
    try:
        declare(node)
        if not hasattr(node, "add_pre_set_parameters_callback"):
            pytest.skip("not in ROS 2 Humble")
        values = {"markers_max_rate": 12, "detector.left_class_ids": [3], "detector.hand_class_ids": []}
        results = node.set_parameters([rclpy.parameter.Parameter(name, value=v) for name, v in values.items()])
        assert all(result.successful for result in results)
        assert [node.get_parameter(name).value for name in values] == [12.0, ["3"], []]
        (result,) = node.set_parameters([rclpy.parameter.Parameter("markers_max_rate", value="fast")])
        assert not result.successful
    finally:
        node.destroy_node()


@pytest.mark.parametrize("field", fields(Parameters), ids=lambda field: ros_name(field.name))
def test_descriptors_are_complete(field):
    described = descriptor(field)
    assert described.description.strip().endswith(".") and described.additional_constraints.endswith(".")
    assert not described.read_only and ("configured" in described.additional_constraints) == field.metadata["fixed"]
    if isinstance(field.metadata["default"], float):
        (limits,) = described.floating_point_range
        assert limits.from_value <= field.metadata["default"] <= limits.to_value


def test_defaults_are_those_of_the_estimator():
    assert Parameters().estimator == EstimatorConfig(smoothing=SmoothingConfig())


def test_changes_are_checked_as_a_whole():
    parameters = Parameters().changed(
        {"intrinsics": "horizontal_fov", "horizontal_fov": 1.2, "use_sim_time": True}, configured=True
    )
    assert parameters.intrinsics == "horizontal_fov" and parameters.horizontal_fov == 1.2
    with pytest.raises(ParameterError, match="horizontal_fov"):
        parameters.changed({"horizontal_fov": 0.0}, configured=True)
    with pytest.raises(ParameterError, match="diagnostics.age_warn"):
        Parameters().changed({"diagnostics.age_warn": 5.0}, configured=True)
    with pytest.raises(ParameterError, match="checkpoint: read when the node is configured"):
        Parameters().changed({"checkpoint": "none", "tf": "off"}, configured=True)
    assert Parameters().changed({"checkpoint": "none"}, configured=False).checkpoint == "none"
