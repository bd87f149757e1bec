"""The receiver: messages without an executor."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_graph import DOMAIN
from std_msgs.msg import Int32

from wildhands_ros.ros import receiver as receiver_module
from wildhands_ros.ros.receiver import Receiver

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


@pytest.fixture
def context() -> Iterator[Context]:
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    yield context
    context.try_shutdown()


@pytest.fixture
def node(context: Context) -> Iterator[Node]:
    node = rclpy.create_node("receiving", context=context)
    yield node
    node.destroy_node()


def publish_until(publisher: Any, arrived: threading.Event, number: int = 1) -> bool:
    """Publishes a number again and again until it has arrived, or for 20 s."""
    for _ in range(400):
        publisher.publish(Int32(data=number))
        if arrived.wait(0.05):
            return True
    return False


class Arrivals:
    """A callback that remembers the numbers that arrived and the thread of the last one."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.thread = ""
        self.any = threading.Event()

    def __call__(self, message: Int32) -> None:
        self.numbers.add(message.data)
        self.thread = threading.current_thread().name
        self.any.set()


def test_messages_arrive_in_its_thread_and_an_executor_leaves_them_alone(node, context):
    receiver, arrivals = Receiver(node), Arrivals()
    receiver.subscribe(Int32, "numbers", arrivals, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    publisher = node.create_publisher(Int32, "numbers", 10)
    until = time.monotonic() + 20
    while not arrivals.any.is_set() and time.monotonic() < until:
        publisher.publish(Int32(data=1))
        executor.spin_once(timeout_sec=0.02)
    assert arrivals.thread == "wildhands receiver"
    receiver.stop()
    executor.shutdown()


def test_subscriptions_can_be_added_and_ended_while_it_waits(node):
    receiver, first, second = Receiver(node), Arrivals(), Arrivals()
    ended = receiver.subscribe(Int32, "numbers", first, 10)
    publisher = node.create_publisher(Int32, "numbers", 10)
    assert publish_until(publisher, first.any)
    receiver.subscribe(Int32, "numbers", second, 10)
    assert publish_until(publisher, second.any, 2)
    receiver.unsubscribe(ended)
    second.any.clear()
    assert publish_until(publisher, second.any, 3)
    assert 3 not in first.numbers
    receiver.stop()
    assert not list(node.subscriptions)


def test_an_error_in_a_callback_does_not_end_it(node):
    arrivals = Arrivals()

    def fail_first(message: Int32) -> None:
        if message.data == 1:
            failed.set()
            raise ZeroDivisionError
        arrivals(message)

    receiver, failed = Receiver(node), threading.Event()
    receiver.subscribe(Int32, "numbers", fail_first, 10)
    publisher = node.create_publisher(Int32, "numbers", 10)
    assert publish_until(publisher, failed)
    assert publish_until(publisher, arrivals.any, 2)
    receiver.stop()


def test_an_error_of_the_middleware_does_not_end_it(node, monkeypatch):
    errors, original = iter((MemoryError(), ValueError())), receiver_module.rclpy_implementation.WaitSet

    def wait_set(*arguments: Any) -> Any:
        for error in errors:
            raise error
        return original(*arguments)

    monkeypatch.setattr(receiver_module, "_PAUSE", 0.01)
    monkeypatch.setattr(receiver_module.rclpy_implementation, "WaitSet", wait_set)
    receiver, arrivals = Receiver(node), Arrivals()
    receiver.subscribe(Int32, "numbers", arrivals, 10)
    assert publish_until(node.create_publisher(Int32, "numbers", 10), arrivals.any)
    assert next(errors, None) is None
    receiver.stop()


def test_it_reports_publishers_with_another_qos(node):
    receiver, excluded = Receiver(node), threading.Event()
    receiver.subscribe(
        Int32,
        "numbers",
        Arrivals(),
        QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda event: excluded.set()),
    )
    node.create_publisher(Int32, "numbers", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    assert excluded.wait(20)
    receiver.stop()


def test_it_ends_when_rclpy_is_shut_down(node, context):
    before = threading.active_count()
    receiver = Receiver(node)
    receiver.subscribe(Int32, "numbers", Arrivals(), 10)
    context.shutdown()
    until = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before
    receiver.stop()
