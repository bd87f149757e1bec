"""Settings of the network that keep processes apart, and publishers whose messages cannot be read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped
from live_node import LiveNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_graph import NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from wildhands_ros.msg import HandArray
from wildhands_ros.ros.surroundings import discovery_hint
from wildhands_ros.ros.type_conflicts import type_conflicts

pytestmark = pytest.mark.ros

NODES = ("wildhands_ros.ros.node", "wildhands_ros.ros.fusion.node", "wildhands_ros.ros.teleop.node")
FAKE_PROGRAM = str(Path(__file__).with_name("live_node.py"))


@pytest.mark.parametrize(
    ("module", "variable", "value", "words"),
    [
        (NODES[0], "RMW_IMPLEMENTATION", "rmw_from_elsewhere_cpp", "it has rmw_fastrtps_cpp"),
        (NODES[1], "RMW_IMPLEMENTATION", "rmw_from_elsewhere_cpp", "unset RMW_IMPLEMENTATION"),
        (NODES[0], "ROS_DOMAIN_ID", "abc", "number from 0 to 232"),
        (NODES[1], "ROS_DOMAIN_ID", "-3", "number from 0 to 232"),
        (NODES[2], "ROS_DOMAIN_ID", "500", "number from 0 to 232"),
    ],
)
def test_variables_that_cannot_be_used_end_a_node_with_a_sentence(module, variable, value, words):
    """ROS's C libraries would end the process with exit code 102, or talk to a domain that does not exist."""
    code = f"from wildhands_ros.ros.process import run; run({module!r})"
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, variable: value}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert variable in result.stderr and value in result.stderr and words in result.stderr


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ""),
        ({"ROS_DOMAIN_ID": "0"}, ""),
        ({"ROS_DOMAIN_ID": "7"}, "domain 7"),
        ({"ROS_DISCOVERY_SERVER": "10.0.0.1:11811"}, "10.0.0.1:11811"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF", "ROS_DOMAIN_ID": "7"}, "LOCALHOST"),
        ({"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"}, "rmw_zenohd"),
    ],
)
def test_what_hides_other_processes_is_named(monkeypatch, variables, words):
    for name in ("ROS_DOMAIN_ID", "ROS_DISCOVERY_SERVER", "ROS_AUTOMATIC_DISCOVERY_RANGE", "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hint = discovery_hint()
    assert words in hint and bool(hint) == bool(words)


def test_a_node_runs_and_ends_without_its_discovery_server(tmp_path, monkeypatch):
    monkeypatch.setenv("ROS_DISCOVERY_SERVER", "127.0.0.1:11899")
    node = NodeProcess(tmp_path / "log", program=(FAKE_PROGRAM, str(tmp_path / "nothing")))
    try:
        for _ in range(1200):
            if "ready" in node.output or node.process.poll() is not None:
                break
            time.sleep(0.1)
        assert "ready" in node.output
    finally:
        assert node.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("topic", "kind", "words"),
    [
        ("image", CompressedImage, "set image_transport to compressed"),
        ("camera_info", PoseStamped, "sensor_msgs/msg/CameraInfo is needed"),
        ("detections", HandArray, "vision_msgs/msg/Detection2DArray is needed"),
    ],
)
def test_a_publisher_of_another_type_is_named(client, topic, kind, words):
    namespace = f"/types_{topic}"
    node = LiveNode(namespace, detector__type="tracks")
    publisher = client.publisher(f"{namespace}/{topic}", kind)
    name = f"{namespace[1:]}/wildhands"
    try:
        client.until(lambda: words in client.diagnostics(name).get("warnings", ""), "the warning")
        if topic == "image":  # it also explains the silence
            client.until(lambda: words in client.diagnostics(name)["message"], "the message")
        client.node.destroy_publisher(publisher)
        client.until(lambda: words not in client.diagnostics(name)["warnings"], "the end of the warning")
    finally:
        node.close()


@pytest.mark.parametrize(("module", "topic"), [(NODES[1], "a/hands"), (NODES[2], "hands")])
def test_fusion_and_teleoperation_name_them_too(client, tmp_path, module, topic):
    extrinsics = tmp_path / "extrinsics.yaml"
    pose = "position: [0, 0, 0], orientation: [0, 0, 0, 1]"
    extrinsics.write_text(f"frame: world\ncameras: {{a: {{{pose}}}, b: {{{pose}}}}}\n")
    parameters = {"cameras": "[a,b]", "extrinsics": str(extrinsics)} if "fusion" in module else {}
    namespace = f"/types_{module.split('.')[-2]}"
    node = NodeProcess(tmp_path / "log", namespace, program=("-m", module), **parameters)
    publisher = client.publisher(f"{namespace}/{topic}", Image)
    name = f"{namespace[1:]}/wildhands_{module.split('.')[-2]}"
    try:
        client.until(lambda: "sensor_msgs/msg/Image" in client.diagnostics(name).get("message", ""), "the warning", 120)
    finally:
        client.node.destroy_publisher(publisher)
        assert node.stop() == 0, node.output


def test_a_publisher_of_another_version_is_named():
    def endpoint(name, version, value):
        kind = SimpleNamespace(version=version, value=value)
        return SimpleNamespace(node_namespace="/", node_name=name, topic_type="a/msg/B", topic_type_hash=kind)

    others = [endpoint("old", 1, b"old"), endpoint("same", 1, b"new"), endpoint("unknown", -1, b"")]
    node = SimpleNamespace(
        subscriptions=[SimpleNamespace(topic_name="/b")],
        get_fully_qualified_name=lambda: "/me",
        get_subscriptions_info_by_topic=lambda topic: [endpoint("me", 1, b"new")],
        get_publishers_info_by_topic=lambda topic: others,
    )
    (text,) = type_conflicts(node)
    assert text.startswith("/old publishes another version of a/msg/B on /b")


def test_a_publisher_with_incompatible_qos_is_named(client):
    """Possible only where the QoS of a subscription is overridden: by default each matches every publisher."""
    namespace = "/qos_of_info"
    override = {f"qos_overrides.{namespace}/camera_info.subscription.durability": "transient_local"}
    node = LiveNode(namespace, **override)
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE)
    publisher = client.node.create_publisher(CameraInfo, f"{namespace}/camera_info", qos)
    name = f"{namespace[1:]}/wildhands"
    try:
        client.until(lambda: "qos_overrides" in client.diagnostics(name).get("warnings", ""), "the warning")
    finally:
        client.node.destroy_publisher(publisher)
        node.close()
