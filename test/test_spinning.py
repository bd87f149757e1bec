"""Arguments that ROS refuses, and parameters that it ignores in silence: each is named in one sentence."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from ros_graph import ENVIRONMENT

from wildhands_ros.ros.declaration import ParameterError
from wildhands_ros.ros.ignored_parameters import ignored_parameters
from wildhands_ros.ros.shutdown import shut_down
from wildhands_ros.ros.spinning import spin_until_signal

pytestmark = pytest.mark.ros

KNOWN = ("hand_length", "detector.type", "tf_prefix")


@pytest.fixture(autouse=True)
def isolated(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def make_node() -> Node:
    """Makes a node that ends as soon as it is spun."""
    node = Node("hands")
    node.declare_parameter("hand_length", 0.0)
    node.create_timer(0.0, rclpy.shutdown)
    return node


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # https://github.com/osrf/vrx/issues/680
        (["-r", "image"], "'-r image'. Error: Expected lexeme type (19) not found, search ended at index 5; a rule is"),
        (["-r", "image:=cam/1image"], "'-r image:=cam/1image'; a rule is FROM:=TO"),
        (["-r", "__ns:=left"], "a namespace (__ns) begins with /"),
        # https://github.com/ros2/rcl/issues/815
        (["--params-file", "/nowhere.yaml"], "Error opening YAML file; a file has NODE"),
        (["--params-file", "{mixed}"], "line_num 3; a file has NODE: {ros__parameters: {NAME: VALUE}}, and the items"),
        (["-p", "hand_length:="], "'-p hand_length:='; an override is NAME:=VALUE"),
        # https://github.com/moveit/moveit2/issues/2940
        (["-p", "use_sim_time:=1"], "'use_sim_time' to '1' of type 'INTEGER', expecting type 'BOOL'"),
        (["--log-level", "loud"], "severity level; it is debug, info, warn, error or fatal"),
        (["--image", "x"], "unknown arguments after --ros-args: ['--image'"),
    ],
)
def test_arguments_that_cannot_be_used_end_the_node_with_a_sentence(arguments, words, tmp_path, capfd):
    mixed = tmp_path / "mixed.yaml"
    mixed.write_text("hands:\n  ros__parameters:\n    a: [1, b]\n")
    arguments = [argument.format(mixed=mixed) for argument in arguments]
    assert spin_until_signal("hands_node", make_node, ["--ros-args", *arguments]) == 1
    (line,) = (line for line in capfd.readouterr().err.splitlines() if line.startswith("hands_node: "))
    assert words in line and ".c:" not in line


def test_a_domain_that_is_no_number_ends_the_node_with_a_sentence(monkeypatch, capfd):
    monkeypatch.setenv("ROS_DOMAIN_ID", "lab")
    assert spin_until_signal("hands_node", make_node, []) == 1
    assert "hands_node: ROS_DOMAIN_ID is not an integral number; it is a number from 0" in capfd.readouterr().err


def test_an_error_of_the_user_needs_no_traceback(capfd):
    def fails():
        raise ParameterError("parameter x is wrong")

    assert spin_until_signal("hands_node", fails, []) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "hands_node: parameter x is wrong"


def test_ignored_parameters_are_logged(capfd):
    assert spin_until_signal("hands_node", make_node, ["--ros-args", "-p", "hand_lenght:=0.19"]) == 0
    assert "there is no parameter hand_lenght: is hand_length meant?" in capfd.readouterr().err


FILES = {
    "wildhands:\n  ros__parameters:\n    hand_length: 0.19\n    detector: {type: own}\n": {
        "/wildhands": [],
        # https://github.com/manankharwar/fusioncore/issues/134: a name without a namespace is that in the root.
        "/left/wildhands": ["FILE is ignored: it has parameters for /wildhands, but this node is /left/wildhands"],
        "/hands": ["FILE is ignored: it has parameters for /wildhands, but this node is /hands"],
    },
    "wildhands:\n  ros__parameters:\n    hand_lenght: 0.19\n    colour: red\n": {
        # https://github.com/christianrauch/raspicam2_node/issues/9
        "/wildhands": [
            "there is no parameter hand_lenght: is hand_length meant?",
            "there is no parameter colour",
        ],
    },
    # For all nodes: what is not similar to a parameter of this node may be another node's.
    "/**:\n  ros__parameters:\n    detector:\n      tpye: own\n    colour: red\n    use_sim_time: true\n": {
        "/left/wildhands": ["there is no parameter detector.tpye: is detector.type meant?"],
    },
    "left:\n  wildhands: {ros__parameters: {tf_prefix: a_}}\nright:\n  wildhands: {ros__parameters: {x: 1}}\n": {
        "/left/wildhands": [],
        "/right/wildhands": ["there is no parameter x"],
        "/wildhands": [
            "FILE is ignored: it has parameters for /left/wildhands, /right/wildhands, but this node is /wildhands"
        ],
    },
    "/**/wildhands: {ros__parameters: {tf_prefix: a_}}\n": {"/wildhands": [], "/a/b/wildhands": []},
    "/*/wildhands: {ros__parameters: {qos_overrides: {/hands: {publisher: {depth: 1}}}}}\n": {"/a/wildhands": []},
    "not: a parameter file\n": {"/wildhands": []},
    "- 1\n": {"/wildhands": []},
    "a: {b: [\n": {"/wildhands": []},
}


@pytest.mark.parametrize("text", FILES)
def test_what_a_parameter_file_does_not_set(text, tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(text)
    for node, expected in FILES[text].items():
        arguments = ["node", "--params-file", "elsewhere", "--ros-args", "-r", "a:=b", "--params-file", str(file)]
        found = ignored_parameters(arguments, node, (*KNOWN, "use_sim_time"))
        assert [sentence.replace(str(file), "FILE") for sentence in found] == expected, node


def test_what_the_command_line_does_not_set():
    arguments = ["-p", "a:=1", "--ros-args", "-p", "tf_prefx:=a_", "--param", "hands:tf_prefix2:=b", "--", "-p", "x:=1"]
    assert ignored_parameters(arguments, "/wildhands", KNOWN) == ["there is no parameter tf_prefx: is tf_prefix meant?"]
    assert len(ignored_parameters(arguments, "/hands", KNOWN)) == 2


def test_a_signal_may_shut_rclpy_down_at_the_last_moment(monkeypatch):
    rclpy.init(args=[])
    rclpy.get_default_context().handle.shutdown()  # the signal's
    monkeypatch.setattr(rclpy_implementation.Context, "ok", lambda context: True)
    with pytest.raises(rclpy_implementation.RCLError):
        rclpy.try_shutdown()
    shut_down()
    monkeypatch.undo()
    shut_down()  # makes a new context for other tests
