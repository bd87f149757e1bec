"""A node that records topics to an MCAP bag and counts what is missing from it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import rosbags.interfaces as rosbag
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message

from ...msg import EpisodeEvent
from ...recording.bag_writer import BagWriter, DiskFull
from ...recording.message import Message
from ..diagnostics import Snapshot, diagnostic_array
from .episodes import TOPIC as EPISODES
from .episodes import EpisodeServices

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

MAX_QUEUED_BYTES = 256 * 2**20
"""Bytes that may wait for the disk. Messages beyond are dropped and counted."""
DEPTH = 200
"""Messages of a topic that may wait in the middleware."""
UNRECORDED = ("/rosout", "/parameter_events")


@dataclass
class Counts:
    """Counts of one topic. ``received`` is the sum of ``written``, ``dropped`` and what is in the queue."""

    received: int = 0
    written: int = 0
    dropped: int = 0
    """The disk was too slow or full."""
    lost: int = 0
    """Lost in the middleware: these messages never arrived."""

    def on_lost(self, event: Message) -> None:
        """Handles rclpy's message_lost event."""
        self.lost = event.total_count


@dataclass(frozen=True)
class _QueuedMessage:
    topic: str
    connection: rosbag.Connection
    stamp: int
    data: bytes


class Recorder(Node):
    """Subscribes to topics when they appear and writes their messages from a thread of its own.

    Attributes:
        counts: by topic.
        failure: why the recording had to end; empty while it runs.
    """

    def __init__(self, folder: Path, topics: Sequence[str], everything: bool = False):
        """Starts recording.

        Args:
            folder: the new bag.
            topics: names of the topics.
            everything: whether to record all topics instead.

        Raises:
            OSError: the folder exists or cannot be written.
        """
        super().__init__("wildhands_record")
        self.failure = ""
        self.counts: dict[str, Counts] = {}
        self._bag = BagWriter(folder)
        self._wanted = {self.resolve_topic_name(topic) for topic in topics}
        self._everything = everything
        self._queue: deque[_QueuedMessage] = deque()
        self._queued_bytes = 0
        self._queue_changed = threading.Condition()
        # A lock of its own, so that a slow disk does not block receiving.
        self._bag_lock = threading.Lock()
        self._closing = False
        self._failed_topics: set[str] = set()
        self._episodes_topic = self.resolve_topic_name(EPISODES)
        self._episodes = EpisodeServices(self, self.record_mark)
        self._mark_connection = self._add_topic(self._episodes_topic, "wildhands_ros/msg/EpisodeEvent", latched=True)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.25, self._subscribe_to_new_topics, clock=steady)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self._thread = threading.Thread(target=self._write_messages, name="writer")
        self._thread.start()

    def close(self) -> None:
        """Stops a running episode, writes the queue and completes the bag."""
        self._episodes.finish()
        with self._queue_changed:
            self._closing = True
            self._queue_changed.notify()
        self._thread.join()
        self._bag.close({name: vars(counts) for name, counts in self.counts.items()})

    def record_mark(self, message: EpisodeEvent) -> None:
        """Records the mark of an episode."""
        self._receive(self._episodes_topic, self._mark_connection, serialize_message(message))

    @property
    def missing(self) -> list[str]:
        """Named topics that no node has published yet."""
        return sorted(self._wanted - self.counts.keys() - self._failed_topics)

    def _subscribe_to_new_topics(self) -> None:
        for name, message_types in self.get_topic_names_and_types():
            wanted = name in self._wanted or (self._everything and name not in UNRECORDED)
            if not wanted or name in self.counts or name in self._failed_topics:
                continue
            publishers = self.get_publishers_info_by_topic(name)
            if publishers:
                self._subscribe(name, message_types[0], [publisher.qos_profile for publisher in publishers])

    def _subscribe(self, name: str, message_type: str, offered: list[QoSProfile]) -> None:
        # Ask for what all publishers offer: a subscription that asks for more gets nothing.
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
        qos = QoSProfile(
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        try:
            message_class = _message_class(message_type)
            connection = self._add_topic(name, message_type, latched)
            counts = self.counts[name]
            self.create_subscription(
                message_class,
                name,
                partial(self._receive, name, connection),
                qos,
                raw=True,
                event_callbacks=SubscriptionEventCallbacks(message_lost=counts.on_lost),
            )
        except Exception as error:  # a broken message package raises all kinds of errors; record the other topics
            self._failed_topics.add(name)
            self.get_logger().error(f"{name} is not recorded: {type(error).__name__}: {error}")
            return
        self.get_logger().info(f"recording {name} ({message_type})")

    def _add_topic(self, name: str, message_type: str, latched: bool) -> rosbag.Connection:
        with self._bag_lock:
            connection = self._bag.topic(name, message_type, latched)
        self.counts[name] = Counts()
        return connection

    def _receive(self, topic: str, connection: rosbag.Connection, data: bytes) -> None:
        stamp, counts = time.time_ns(), self.counts[topic]
        with self._queue_changed:
            counts.received += 1
            if self.failure or self._queued_bytes + len(data) > MAX_QUEUED_BYTES:
                counts.dropped += 1
                return
            self._queue.append(_QueuedMessage(topic, connection, stamp, data))
            self._queued_bytes += len(data)
            self._queue_changed.notify()

    def _write_messages(self) -> None:
        """Runs in the writer thread."""
        while True:
            with self._queue_changed:
                self._queue_changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                message = self._queue.popleft()
                self._queued_bytes -= len(message.data)
            counts = self.counts[message.topic]
            if self.failure:
                counts.dropped += 1
                continue
            try:
                with self._bag_lock:
                    self._bag.write(message.connection, message.stamp, message.data)
                counts.written += 1
            except DiskFull as error:
                counts.dropped += 1
                self.failure = str(error)
            except Exception as error:  # an unplugged disk, a message that cannot be written: end the recording
                counts.dropped += 1
                self.failure = f"cannot write to the bag: {type(error).__name__}: {error}"

    def _publish_diagnostics(self) -> None:
        values = {
            name: ", ".join(f"{key} {value}" for key, value in vars(counts).items())
            for name, counts in self.counts.items()
        }
        missing_messages = sum(counts.dropped + counts.lost for counts in self.counts.values())
        level, text = DiagnosticStatus.OK, "recording"
        if self.failure:
            level, text = DiagnosticStatus.ERROR, self.failure
        elif missing_messages:
            level = DiagnosticStatus.WARN
            text = f"{missing_messages} messages dropped or lost: use a faster disk, fewer topics or compressed images"
        elif self.missing:
            level, text = DiagnosticStatus.WARN, f"no publisher on {', '.join(self.missing)}"
        name = self.get_fully_qualified_name().lstrip("/")
        snapshot = Snapshot(level, text, values)
        self._diagnostics.publish(diagnostic_array(snapshot, name, self.get_clock().now().to_msg()))


def _message_class(message_type: str) -> type[Message]:
    package, _, name = message_type.split("/")
    return getattr(import_module(f"{package}.msg"), name)
