"""docs/wildhands_node.md and docs/faults.md against the code: topics, services, parameters, diagnostics, frames, named tests."""

from __future__ import annotations

import ast
import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from live_node import LiveNode

from wildhands_ros.config import DETECTORS
from wildhands_ros.hand_model.joints import MEDIAPIPE_JOINT_NAMES
from wildhands_ros.ros.diagnostics import FrameStats, Health, NodeStatus
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.ros.reference import generated
from wildhands_ros.ros.soak.faults import FAULTS

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "wildhands_node.md").read_text()
FAULT_PAGE = (ROOT / "docs" / "faults.md").read_text()


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S).group(1)


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each table row by the names in its first one."""
    found = {}
    for line in text.splitlines():
        first, *others = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| `") else [""]
        found.update({name: others for name in re.findall(r"`([^`]+)`", first)})
    return found


def test_generated_parts_are_up_to_date():
    for path, text in generated(ROOT).items():
        assert path.read_text() == text, f"{path.name}: python -m wildhands_ros.ros.reference"


def test_detectors_that_the_docs_name_exist():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"detector\.type:?=? ?(\w+)", page.read_text())}
    assert named and named <= set(DETECTORS)


@contextmanager
def active_node(namespace: str, **parameters):
    live = LiveNode(namespace, **parameters)
    try:
        end = time.monotonic() + 30
        while live.node.state_label != "active" or not live.node.get_subscriber_names_and_types_by_node(
            "wildhands", namespace
        ):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield live.node
    finally:
        live.close()


@pytest.fixture(scope="module")
def graph():
    """Documented names and types of what a node makes, by kind, with both image transports and an external detector."""
    found = {"publishers": {}, "subscriptions": {}, "services": {}}
    for transport in ("raw", "compressed"):
        namespace = f"/docs_{transport}"
        with active_node(namespace, image_transport=transport, detector__type="topic", use_sim_time=True) as node:
            for kind, query in (
                ("publishers", node.get_publisher_names_and_types_by_node),
                ("subscriptions", node.get_subscriber_names_and_types_by_node),
                ("services", node.get_service_names_and_types_by_node),
            ):
                for name, types in query("wildhands", namespace):
                    found[kind][name.replace(f"{namespace}/wildhands/", "~/").removeprefix(f"{namespace}/")] = types[0]
    return found


EVERY_NODES = {"/rosout", "/parameter_events"}


def test_topics(graph):
    made = {**graph["publishers"], **graph["subscriptions"]}
    assert {name: cells[0].strip("`") for name, cells in rows(section("Topics")).items()} == {
        name: kind for name, kind in made.items() if name not in EVERY_NODES
    }


def test_quality_of_service():
    with active_node("/q") as node:
        outputs = node._outputs
        publishers = {
            "hands": outputs.hands,
            "hands/markers": outputs.markers,
            "hands/debug_image": outputs.debug_image,
            "/tf": outputs.tf,
        }
        table = rows(section("Topics"))
        for topic, publisher in publishers.items():
            assert (
                table[topic][1]
                == f"depth {publisher.qos_profile.depth}, {publisher.qos_profile.reliability.name.lower()}"
            ), topic
        assert outputs.topology.qos_profile.durability.name == "TRANSIENT_LOCAL"


def test_services(graph):
    table = rows(section("Services"))
    assert set(table) == {
        name for name in graph["services"] if "parameter" not in name and "type_description" not in name
    }
    for name in ("~/enable", "~/reset_tracks"):
        assert table[name][0].strip("`") == graph["services"][name]


def test_diagnostics():
    health = Health(lambda text: None)
    health.frame_processed(FrameStats(0.1, 0.1, {}, 1, "camera_info"))
    values = health.snapshot(NodeStatus("active", True, "/image", 1), Parameters()).values
    documented = set(rows(section("Diagnostics")))
    # Names of the counts stand in the text of their row.
    kinds = {"camera_info", "camera_info_scaled", "field_of_view", "guess"}
    assert {name for name in documented if not name.endswith("...")} - kinds == set(values)


def test_names_of_restarts_are_documented():
    source = (ROOT / "wildhands_ros" / "ros" / "stream.py").read_text() + (
        ROOT / "wildhands_ros" / "ros" / "node.py"
    ).read_text()
    names = set(re.findall(r'"(\w+_(?:changed|back|forward)|requested)"', source))
    row = next(line for line in section("Diagnostics").splitlines() if line.startswith("| `resets: ...`"))
    assert set(re.findall(r"`(\w+)`", row)) == names and len(names) == 6


def test_joints_and_frames():
    text = section("Frames")
    for joint in MEDIAPIPE_JOINT_NAMES:
        finger, _, part = joint.partition("_")
        assert f"`{joint}`" in text or (f"`{finger}`" in text and f"`_{part}`" in text), joint


def test_complaints_are_answered():
    answers = section("Troubleshooting")
    for subject in (
        "No hand",
        "slow",
        "Depth is wrong",
        "Left and right",
        "jitters",
        "Which index",
        "nonsense",
        "axes",
        "lag",
        "Nothing is",
    ):
        assert subject in answers, subject
    assert "installs something" in answers and "recording" in answers and "imitation" in answers


def test_the_tests_that_are_named_exist():
    named = set(re.findall(r"`(test_\w+\.py)::([\w:]+)`", FAULT_PAGE))
    assert len(named) >= 10
    for file, path in named:
        tree = ast.parse((ROOT / "test" / file).read_text())
        for name in path.split("::"):
            tree = next((node for node in tree.body if getattr(node, "name", "") == name), None)
            assert tree is not None, f"{file}::{path}"


def test_every_fault_is_in_the_table():
    table = FAULT_PAGE.partition("<!-- end of faults -->")[0]
    assert [line.rsplit("`", 2)[1] for line in table.splitlines() if line.endswith("` |")] == list(FAULTS)
