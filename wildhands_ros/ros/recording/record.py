"""`wildhands record`: topics into an MCAP bag, without a ROS distribution. Nothing is lost silently: received, written, dropped."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import rclpy
import rosbags.interfaces as bag
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions

from ...msg import EpisodeEvent
from ...recording.bag_writer import BagWriter, DiskFull
from ..diagnostics import Snapshot, diagnostic_array
from .episodes import TOPIC as EPISODES
from .episodes import EpisodeServices

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

CACHE = 256 * 2**20
"""Bytes that may wait for the disk; what comes on top is dropped, and counted."""
DEPTH = 200
"""Messages of a topic that may wait in the middleware."""
UNRECORDED = ("/rosout", "/parameter_events")


@dataclass
class Counts:
    """Of one topic. ``received`` = ``written`` + ``dropped`` + what is still waiting; ``lost`` never reached us."""

    received: int = 0
    written: int = 0
    dropped: int = 0
    lost: int = 0


class Recorder(Node):
    """Subscribes to topics as they appear and writes them from a thread of its own."""

    def __init__(self, folder: Path, topics: Sequence[str], everything: bool = False):
        """Records the named topics, or ``everything``, into the new ``folder``.

        :raises OSError: the folder exists or cannot be written.
        """
        super().__init__("wildhands_record")
        self.failure = ""
        """Why recording had to end; empty while it goes on."""
        self.counts: dict[str, Counts] = {}
        self._bag = BagWriter(folder)
        self._wanted = {self.resolve_topic_name(topic) for topic in topics}
        self._everything = everything
        self._waiting: deque[tuple[str, bag.Connection, int, bytes]] = deque()
        self._waiting_bytes = 0
        self._condition = threading.Condition()
        # Apart from the one above: a slow disk must not hold up receiving.
        self._bag_lock = threading.Lock()
        self._closing = False
        self._refused: set[str] = set()
        self._episodes_topic = self.resolve_topic_name(EPISODES)
        self._episodes = EpisodeServices(self, self._record_mark)
        self._mark_connection = self._add(self._episodes_topic, "wildhands_ros/msg/EpisodeEvent", latched=True)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.25, self._look_for_topics, clock=steady)
        self.create_timer(1.0, self._once_a_second, clock=steady)
        self._thread = threading.Thread(target=self._write, name="writer")
        self._thread.start()

    def close(self) -> None:
        """Stops a running episode, writes what is waiting and completes the bag."""
        self._episodes.finish()
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()
        self._bag.close({name: vars(counts) for name, counts in self.counts.items()})

    @property
    def missing(self) -> list[str]:
        """Named topics that nobody has published yet."""
        return sorted(self._wanted - self.counts.keys() - self._refused)

    def _look_for_topics(self) -> None:
        for name, kinds in self.get_topic_names_and_types():
            chosen = name in self._wanted or (self._everything and name not in UNRECORDED)
            if not chosen or name in self.counts or name in self._refused:
                continue
            publishers = self.get_publishers_info_by_topic(name)
            if publishers:
                self._subscribe(name, kinds[0], publishers)

    def _subscribe(self, name: str, kind: str, publishers: list) -> None:
        offered = [info.qos_profile for info in publishers]
        # What all publishers offer: asking one for more than it offers gets nothing from it.
        reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
        latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
        qos = QoSProfile(
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        package, _, message = kind.split("/")
        try:
            message_type = getattr(_messages(package), message)
            connection = self._add(name, kind, latched)
            counts = self.counts[name]
            self.create_subscription(
                message_type,
                name,
                lambda data: self._receive(name, connection, data),
                qos,
                raw=True,
                event_callbacks=SubscriptionEventCallbacks(
                    message_lost=lambda event: setattr(counts, "lost", event.total_count)
                ),
            )
        except Exception as error:  # a broken package raises all kinds; the other topics are recorded all the same
            self._refused.add(name)
            self.get_logger().error(f"{name} is not recorded: {type(error).__name__}: {error}")
            return
        self.get_logger().info(f"recording {name} ({kind})")

    def _add(self, name: str, kind: str, latched: bool) -> bag.Connection:
        with self._bag_lock:
            connection = self._bag.topic(name, kind, latched)
        self.counts[name] = Counts()
        return connection

    def _record_mark(self, message: EpisodeEvent) -> None:
        self._receive(self._episodes_topic, self._mark_connection, serialize_message(message))

    def _receive(self, name: str, connection: bag.Connection, data: bytes) -> None:
        stamp, counts = time.time_ns(), self.counts[name]
        with self._condition:
            counts.received += 1
            if self.failure or self._waiting_bytes + len(data) > CACHE:
                counts.dropped += 1
                return
            self._waiting.append((name, connection, stamp, data))
            self._waiting_bytes += len(data)
            self._condition.notify()

    def _write(self) -> None:
        """The writer's thread."""
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                name, connection, stamp, data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
            counts = self.counts[name]
            if self.failure:
                counts.dropped += 1
                continue
            try:
                with self._bag_lock:
                    self._bag.write(connection, stamp, data)
                counts.written += 1
            except (
                Exception
            ) as error:  # whatever it is, an unplugged disk or a message that cannot be written, the others must know
                counts.dropped += 1
                self.failure = (
                    str(error)
                    if isinstance(error, DiskFull)
                    else f"cannot write to the bag: {type(error).__name__}: {error}"
                )

    def _once_a_second(self) -> None:
        values = {
            name: ", ".join(f"{key} {value}" for key, value in vars(counts).items())
            for name, counts in self.counts.items()
        }
        lost = sum(counts.dropped + counts.lost for counts in self.counts.values())
        level, text = DiagnosticStatus.OK, "recording"
        if self.failure:
            level, text = DiagnosticStatus.ERROR, self.failure
        elif lost:
            level, text = (
                DiagnosticStatus.WARN,
                f"{lost} messages dropped or lost: a faster disk, fewer topics or compressed images",
            )
        elif self.missing:
            level, text = DiagnosticStatus.WARN, f"nobody publishes {', '.join(self.missing)}"
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(
            diagnostic_array(Snapshot(level, text, values), name, self.get_clock().now().to_msg())
        )


def _messages(package: str) -> ModuleType:
    return import_module(f"{package}.msg")


def run(folder: Path, topics: Sequence[str], everything: bool = False) -> int:
    """Records until SIGINT or SIGTERM, or until the disk is full; prints the counts.

    Returns the exit code: 0, or 1 where messages are missing from the bag.

    :raises OSError: the folder exists or cannot be written.
    """
    ended = threading.Event()
    # Not rclpy's own handling, which would shut down before the bag is complete.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    previous = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with closing(Recorder(folder, topics, everything)) as recorder:
            while not ended.is_set() and not recorder.failure:
                rclpy.spin_once(recorder, timeout_sec=0.1)
        recorder.destroy_node()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        rclpy.try_shutdown()
    print(table(recorder.counts))
    print(f"wrote {folder}")
    for problem in filter(None, (recorder.failure, *(f"nobody published {topic}" for topic in recorder.missing))):
        print(f"wildhands: {problem}", file=sys.stderr)
    complete = not any(counts.dropped or counts.lost for counts in recorder.counts.values())
    return 0 if complete and not recorder.failure else 1


def table(counts: dict[str, Counts]) -> str:
    """The counts of all topics, one line each."""
    width = max(map(len, counts), default=0)
    lines = [f"{'topic':<{width}}  received  written  dropped  lost"]
    lines += [
        f"{name:<{width}}  {c.received:>8}  {c.written:>7}  {c.dropped:>7}  {c.lost:>4}"
        for name, c in sorted(counts.items())
    ]
    return "\n".join(lines)
