"""Measures nodes as processes over DDS, from an image's stamp to the arrival of its hands in another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...benchmark.machine import cpu_seconds, rss_mb
from ...msg import HandArray
from ..isolated_graph import child_process, isolate_graph
from ..shutdown import shut_down
from ..stamps import nanoseconds

START_TIMEOUT = 180.0
"""Seconds to wait for the first hands of a node."""
SETTLE = 2.0
"""Seconds at the start of each run that are not evaluated: discovery, QoS matching, convergence of the hands'
shapes."""
DRAIN = 2.0
"""Seconds without hands after which, with the camera stopped, no more are expected: some nodes queue images."""

_COMMANDS = {
    "wildhands": ("wildhands_ros.ros.node",),
    "naive": ("wildhands_ros.ros.benchmark.peers", "naive"),
    "mediapipe": ("wildhands_ros.ros.benchmark.peers", "mediapipe"),
}


@dataclass(frozen=True)
class Answer:
    """The hands of one image."""

    received: int
    """Time of receipt in nanoseconds."""
    num_hands: int


@dataclass
class StreamRun:
    """One run of a node."""

    sent: list[int] = field(default_factory=list)
    """Stamps of the images in nanoseconds."""
    answers: dict[int, Answer] = field(default_factory=dict)
    """By stamp."""
    cpu_percent: float = 0.0
    """Percent of one core; nodes in one process have equal shares."""

    def figures(self, name: str = "the node") -> dict[str, float]:
        """Returns rates, ages and losses, without the first seconds.

        Args:
            name: how messages call the node.

        Raises:
            RuntimeError: there are too few hands to measure.
        """
        start = self.sent[0] + int(SETTLE * 1e9)
        sent = [stamp for stamp in self.sent if stamp >= start]
        answered = [stamp for stamp in sent if stamp in self.answers]
        if len(answered) < 2:
            raise RuntimeError(
                f"{name} answered only {len(answered)} of {len(sent)} images: its messages above may say why"
            )
        answers = [self.answers[stamp] for stamp in answered]
        ages = np.array([answer.received - stamp for answer, stamp in zip(answers, answered, strict=True)]) / 1e6
        p50, p95 = np.percentile(ages, (50, 95))
        return {
            "fps": round((len(answered) - 1) / ((answers[-1].received - answers[0].received) / 1e9), 2),
            "age_p50_ms": round(float(p50), 2),
            "age_p95_ms": round(float(p95), 2),
            "age_mean_ms": round(float(ages.mean()), 2),
            "input_hz": round((len(sent) - 1) / ((sent[-1] - sent[0]) / 1e9), 2),
            "hands": round(float(np.mean([answer.num_hands for answer in answers])), 3),
            "unanswered": len(sent) - len(answered),
            "cpu_percent": round(self.cpu_percent, 1),
        }


class Listener(Node):
    """Subscribes to all outputs, as other nodes on a robot would; markers and transforms are not decoded."""

    def __init__(self, namespaces: Sequence[str]):
        super().__init__("bench")
        self.answers: dict[str, dict[int, Answer]] = defaultdict(dict)
        self.last_answer = 0.0
        """Monotonic time of the last receipt."""
        for name in namespaces:
            self.create_subscription(HandArray, f"/{name}/hands", partial(self._on_hands, name), 10)
            self.create_subscription(MarkerArray, f"/{name}/hands/markers", lambda _: None, 1, raw=True)
        self.create_subscription(TFMessage, "/tf", lambda _: None, 100, raw=True)

    def _on_hands(self, name: str, message: HandArray) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.last_answer = time.monotonic()
        self.answers[name][stamp] = Answer(time.time_ns(), len(message.hands))


class Streams:
    """Nodes that run side by side and are measured in turns. Made by ``streams``."""

    def __init__(self, kinds: Mapping[str, str], processes: ExitStack):
        """Takes the kinds of the nodes by namespace, and what ends their processes."""
        self._kinds, self._processes = kinds, processes
        self._nodes: dict[str, subprocess.Popen[str]] = {}
        self._listener = Listener(list(kinds))

    def start(self, name: str, cores: Sequence[int] = ()) -> float:
        """Starts a node whose camera is already running.

        Args:
            name: namespace of the node.
            cores: cores that its process may use; empty for all.

        Returns:
            The seconds from the start of the process to its first hands.

        Raises:
            RuntimeError: the camera does not start, or there are no hands within ``START_TIMEOUT``.
        """
        with _camera([name], rate=30.0, seconds=START_TIMEOUT):
            start = time.monotonic()
            while not self._listener.count_publishers(f"/{name}/image"):
                if time.monotonic() > start + START_TIMEOUT:
                    raise RuntimeError("the benchmark's camera does not start: its messages above may say why")
                rclpy.spin_once(self._listener, timeout_sec=0.1)
            start = time.monotonic()
            self._nodes[name] = self._processes.enter_context(_node(name, self._kinds[name], cores))
            self._wait_for_hands([name])
            return time.monotonic() - start  # Before the camera's process is ended, which takes a moment.

    def start_together(self, names: Sequence[str]) -> None:
        """Starts ``wildhands_cameras`` for several cameras, which are already running.

        Raises:
            RuntimeError: see ``start``.
        """
        with _camera(names, rate=30.0, seconds=START_TIMEOUT):
            process = self._processes.enter_context(_cameras(names))
            self._nodes.update(dict.fromkeys(names, process))
            self._wait_for_hands(names)

    def _wait_for_hands(self, names: Sequence[str]) -> None:
        end = time.monotonic() + START_TIMEOUT
        while missing := [name for name in names if not self._listener.answers[name]]:
            if time.monotonic() > end or any(self._nodes[name].poll() is not None for name in missing):
                raise RuntimeError(f"the node {missing[0]} publishes no hands: its messages above may say why")
            rclpy.spin_once(self._listener, timeout_sec=0.1)

    def run(self, names: Sequence[str], rate: float, seconds: float) -> dict[str, StreamRun]:
        """Sends images to some of the nodes at once.

        Args:
            names: namespaces of the nodes.
            rate: images per second; 0 to send an image whenever hands of the first node arrive.
            seconds: duration.

        Raises:
            RuntimeError: the camera process failed.
        """
        self._listener.answers.clear()
        before = {name: cpu_seconds(self._nodes[name].pid) for name in names}
        start = time.monotonic()
        with _camera(names, rate, SETTLE + seconds) as camera:
            stopped = None
            while stopped is None or time.monotonic() < max(stopped, self._listener.last_answer) + DRAIN:
                rclpy.spin_once(self._listener, timeout_sec=0.05)
                if stopped is None and camera.poll() is not None:
                    stopped = time.monotonic()
            output = camera.stdout.read() if camera.stdout else ""
        if camera.returncode or not output:
            raise RuntimeError("the benchmark's camera process failed: its messages above may say why")
        elapsed = time.monotonic() - start
        sent = json.loads(output)
        pids = {name: self._nodes[name].pid for name in names}
        sharing = Counter(pids.values())
        return {
            name: StreamRun(
                sent[name],
                dict(self._listener.answers[name]),
                100 * (cpu_seconds(pid) - before[name]) / elapsed / sharing[pid],
            )
            for name, pid in pids.items()
        }

    def memory(self, name: str) -> dict[str, float]:
        """Returns the resident memory of a node in megabytes, now and at its peak."""
        return rss_mb(self._nodes[name].pid)

    def total_mb(self) -> int:
        """Returns the resident memory of all nodes together in megabytes."""
        return round(sum(rss_mb(pid)["rss_mb"] for pid in {node.pid for node in self._nodes.values()}))


@contextmanager
def streams(kinds: Mapping[str, str]) -> Iterator[Streams]:
    """Prepares nodes, each of which is started by ``Streams.start``; all are ended when the context is left.

    Args:
        kinds: ``wildhands``, ``naive`` or ``mediapipe``, by the namespace of the node.
    """
    isolate_graph()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with ExitStack() as processes:
            yield Streams(kinds, processes)
    finally:
        shut_down()


@contextmanager
def _node(name: str, kind: str, cores: Sequence[int]) -> Iterator[subprocess.Popen[str]]:
    module, *arguments = _COMMANDS[kind]
    on_cores = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
    ros_arguments = ["-r", f"__ns:=/{name}", "-p", f"tf_prefix:={name}_", "--log-level", "warn"]
    with child_process([*on_cores, sys.executable, "-m", module, *arguments, "--ros-args", *ros_arguments]) as node:
        yield node


@contextmanager
def _cameras(names: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "wildhands_ros.ros.several_cameras", *names]
    with child_process([*command, "--ros-args", "--log-level", "warn"]) as process:
        yield process


@contextmanager
def _camera(names: Sequence[str], rate: float, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "wildhands_ros.ros.benchmark.camera", *names]
    options = ["--rate", str(rate), "--seconds", str(seconds)]
    with child_process([*command, *options], stdout=subprocess.PIPE) as camera:
        yield camera
