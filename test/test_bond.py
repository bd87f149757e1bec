"""The bond with nav2's lifecycle manager, whose side of the protocol is implemented here a second time."""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("bond.msg", reason="tools/setup_env.py test builds the messages of bond")

from bond.msg import Status
from lifecycle_msgs.msg import Transition
from live_node import LiveNode
from ros_graph import Client, NodeProcess

from wildhands_ros.ros import bond

pytestmark = pytest.mark.ros

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
FAKE_PROGRAM = Path(__file__).with_name("live_node.py")


class Manager:
    """One end of a bond: formed by the first message of the other end, broken by its farewell or its silence."""

    def __init__(self, client: Client, namespace: str, name: str, timeout: float = 30.0):
        self._client, self._name, self._timeout = client, name, timeout
        self._instance = uuid.uuid4().hex
        self._publisher = client.publisher(f"{namespace}/bond", Status)
        self._subscription = client.node.create_subscription(Status, f"{namespace}/bond", self._on_status, 100)
        self.messages: list[Status] = []
        """Those of the other end."""
        self._heard_at = 0.0

    def close(self) -> None:
        self._client.node.destroy_subscription(self._subscription)
        self._client.node.destroy_publisher(self._publisher)

    @property
    def state(self) -> str:
        if not self.messages:
            return "waiting"
        if not self.messages[-1].active:
            return "broken"
        return "alive" if time.monotonic() < self._heard_at + self._timeout else "silent"

    def beat(self) -> None:
        """Sends a heartbeat, as the other end's own nodes and other managed nodes on the topic do."""
        for name in (self._name, "controller_server"):
            self._publisher.publish(Status(id=name, instance_id=self._instance, active=True))

    def _on_status(self, message: Status) -> None:
        if message.id == self._name and message.instance_id != self._instance:
            self.messages.append(message)
            self._heard_at = time.monotonic()


@pytest.fixture
def managed(client):
    """Returns a function that makes a node and the manager's end of its bond."""
    made = []

    def make(**parameters) -> tuple[LiveNode, str, Manager]:
        namespace = f"/n{uuid.uuid4().hex[:8]}"
        node = LiveNode(namespace, autostart=False, **parameters)
        made.append(node)
        manager = Manager(client, namespace, "wildhands")
        made.append(manager)
        return node, f"{namespace}/wildhands", manager

    yield make
    for item in reversed(made):
        item.close()


def count(manager: Manager, number: int) -> bool:
    return len(manager.messages) >= number


def test_a_bond_lasts_as_long_as_the_node_is_active(client, managed):
    _, name, manager = managed(bond_heartbeat_period=0.05)
    assert client.change_state(name, CONFIGURE)
    client.until(lambda: client.state(name) == "inactive", "it is inactive", meanwhile=manager.beat)
    assert manager.state == "waiting"

    assert client.change_state(name, ACTIVATE)
    client.until(lambda: count(manager, 10), "heartbeats", meanwhile=manager.beat)
    assert manager.state == "alive"
    first = manager.messages[0]
    assert first.heartbeat_period == pytest.approx(0.05) and first.heartbeat_timeout == bond.HEARTBEAT_TIMEOUT
    assert {message.instance_id for message in manager.messages} == {first.instance_id}
    assert first.header.stamp.sec > 0

    assert client.change_state(name, DEACTIVATE)
    client.until(lambda: manager.state == "broken", "it is broken explicitly")
    assert [message.active for message in manager.messages].count(False) == 1

    # nav2's manager makes a new bond each time it activates a node; the other end must be new too.
    manager.messages.clear()
    assert client.change_state(name, ACTIVATE)
    client.until(lambda: count(manager, 3), "heartbeats of another bond")
    assert manager.state == "alive" and manager.messages[-1].instance_id != first.instance_id

    assert client.change_state(name, DEACTIVATE) and client.change_state(name, CLEANUP)
    client.until(lambda: manager.state == "broken", "it is broken again")


def test_a_bond_lasts_while_the_node_replaces_its_estimator(client, managed):
    node, name, manager = managed(bond_heartbeat_period=0.05)
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    client.until(lambda: count(manager, 1), "heartbeats")
    node.node.executor.create_task(node.node.restart)
    client.until(lambda: len(node.estimators) == 2, "another estimator")
    client.until(lambda: client.state(name) == "active", "it is active again")
    before = len(manager.messages)
    client.until(lambda: count(manager, before + 3), "further heartbeats")
    assert all(message.active for message in manager.messages)
    assert len({message.instance_id for message in manager.messages}) == 1


def test_a_bond_is_broken_if_the_estimator_cannot_be_replaced(client, managed):
    node, name, manager = managed(bond_heartbeat_period=0.05)
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    client.until(lambda: count(manager, 1), "heartbeats")
    node.fails = True
    node.node.executor.create_task(node.node.restart)
    client.until(lambda: manager.state == "broken", "the bond is broken")
    assert client.state(name) != "active"


def test_a_killed_node_falls_silent(client, tmp_path):
    namespace = f"/n{uuid.uuid4().hex[:8]}"
    program = (str(FAKE_PROGRAM), str(tmp_path / "nothing"))
    process = NodeProcess(tmp_path / "log", namespace, program=program)
    manager = Manager(client, namespace, "wildhands", timeout=1.0)
    try:
        # The node activates itself; its default period suits the managers' default timeout.
        client.until(lambda: count(manager, 3), "heartbeats")
        process.stop(signal.SIGKILL)
        client.until(lambda: manager.state == "silent", "the heartbeats end")
    finally:
        process.process.kill()
        manager.close()


def test_no_bond_without_a_period(client, managed):
    _, name, manager = managed(bond_heartbeat_period=0.0)
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    manager.beat()
    assert client.change_state(name, DEACTIVATE)
    assert client.node.count_publishers(f"{name.rsplit('/', 1)[0]}/bond") == 1, "only the manager's"
    assert not manager.messages


def test_a_missing_package_is_reported_once_if_bonds_are_expected(client, managed, monkeypatch, capfd):
    monkeypatch.setattr(bond, "Status", None)
    _, name, manager = managed(bond_heartbeat_period=0.05)
    assert client.change_state(name, CONFIGURE) and client.change_state(name, ACTIVATE)
    output = []

    def is_reported() -> bool:
        output.append(capfd.readouterr().err)
        return "but the package bond is not installed" in "".join(output)

    client.until(is_reported, "the warning")
    for _ in range(2):
        assert client.change_state(name, DEACTIVATE) and client.change_state(name, ACTIVATE)
    is_reported()
    assert "".join(output).count("bond_timeout: 0.0") == 1
    assert manager.state == "waiting"
