"""Compares the pages about the node, its faults and troubleshooting with the code."""

from __future__ import annotations

import ast
import re
import time
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from live_node import LiveNode

from wildhands_ros.config import DETECTORS
from wildhands_ros.hand_model.joints import MEDIAPIPE_JOINT_NAMES
from wildhands_ros.ros.declaration import ros_name
from wildhands_ros.ros.diagnostics import FrameStats, Health, NodeStatus
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.ros.reference import generated
from wildhands_ros.ros.soak.faults import FAULTS
from wildhands_ros.ros.soak.loads import LOADS

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "wildhands_node.md").read_text()
FAULT_PAGE = (ROOT / "docs" / "faults.md").read_text()


def section(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S).group(1)


def rows(text: str) -> dict[str, list[str]]:
    """Returns the other cells of each table row by the names in its first cell."""
    found = {}
    for line in text.splitlines():
        first, *others = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("| `") else [""]
        found.update({name: others for name in re.findall(r"`([^`]+)`", first)})
    return found


def test_generated_parts_are_up_to_date():
    for path, text in generated(ROOT).items():
        assert path.read_text() == text, f"{path.name}: python -m wildhands_ros.ros.reference"


def test_detectors_in_the_docs_exist():
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
    """Returns names and types of the node's publishers, subscriptions and services with all input options."""
    found = {"publishers": {}, "subscriptions": {}, "services": {}}
    for transport, depth in (("raw", "raw"), ("compressed", "compressedDepth")):
        namespace = f"/docs_{transport}"
        options = {"image_transport": transport, "depth_transport": depth, "use_sim_time": True}
        with active_node(namespace, detector__type="topic", **options) as node:
            for kind, query in (
                ("publishers", node.get_publisher_names_and_types_by_node),
                ("subscriptions", node.get_subscriber_names_and_types_by_node),
                ("services", node.get_service_names_and_types_by_node),
            ):
                for name, types in query("wildhands", namespace):
                    found[kind][name.replace(f"{namespace}/wildhands/", "~/").removeprefix(f"{namespace}/")] = types[0]
    return found


OF_EVERY_NODE = {"/rosout", "/parameter_events"}


def test_topics(graph):
    made = {**graph["publishers"], **graph["subscriptions"]}
    assert {name: cells[0].strip("`") for name, cells in rows(section("Topics")).items()} == {
        name: kind for name, kind in made.items() if name not in OF_EVERY_NODE
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
    # The row of intrinsics also lists its values.
    kinds = {"camera_info", "camera_info_scaled", "field_of_view", "guess"}
    assert {name for name in documented if not name.endswith("...")} - kinds == set(values)


def test_reset_reasons_are_documented():
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


def test_symptoms_are_in_the_troubleshooting_page():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    titles = " ".join(re.findall(r"^## (.*)$", page, re.M)).lower()
    for symptom in (
        "silent",
        "camera_info",
        "no hands",
        "depth",
        "left and right",
        "jitter",
        "lag",
        "old",
        "rviz",
        "tf errors",
        "mano",
        "slow",
    ):
        assert symptom in titles, symptom


def test_diagnostics_in_the_troubleshooting_page_exist():
    """All rejections and resets that the page names occur in the code."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    files = [*(ROOT / "wildhands_ros" / "ros").glob("*.py"), ROOT / "wildhands_ros" / "geometry" / "calibration.py"]
    sources = "".join(path.read_text() for path in files)
    named = set(re.findall(r"`rejected: (\w+)`", page))
    assert len(named) >= 5
    for name in named:
        assert f'"{name}"' in sources, name
    parameters = {ros_name(item.name) for item in fields(Parameters)}
    for name in set(re.findall(r"`((?:detector|smoothing|diagnostics)\.\w+)[:`]", page)):
        assert name in parameters, name


def test_tests_in_the_docs_exist():
    named = set(re.findall(r"`(test_\w+\.py)::([\w:]+)`", FAULT_PAGE))
    assert len(named) >= 10
    for file, path in named:
        tree = ast.parse((ROOT / "test" / file).read_text())
        for name in path.split("::"):
            tree = next((node for node in tree.body if getattr(node, "name", "") == name), None)
            assert tree is not None, f"{file}::{path}"


def test_every_other_row_names_its_test():
    text = FAULT_PAGE.partition("<!-- end of loads -->")[2].partition("## Fuzzing")[0]
    table_rows = [line for line in text.splitlines() if line.startswith("| ") and "tested in" not in line]
    assert len(table_rows) > 40
    assert not [line for line in table_rows if not re.search(r"`test_\w+\.py::\w+", line.rsplit("|", 2)[1])]


def test_every_fault_is_in_the_table():
    table = FAULT_PAGE.partition("<!-- end of loads -->")[0]
    assert [line.rsplit("`", 2)[1] for line in table.splitlines() if line.endswith("` |")] == [*FAULTS, *LOADS]
