"""Nodes as processes over DDS, from an image's stamp to the hands' arrival in another process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from ...benchmark.machine import cpu_seconds, rss_mb
from ...msg import HandArray
from ..isolated_graph import child_process, isolate_graph

START_TIMEOUT = 180.0
"""Seconds for a node's first hands."""
SETTLE = 2.0
"""Seconds of each run that do not count: discovery, the match of reliabilities, the hands' shapes."""
DRAIN = 0.5
"""Seconds to wait for the last answers."""

_COMMANDS = {
    "wildhands": ("wildhands_ros.ros.node",),
    "naive": ("wildhands_ros.ros.benchmark.peers", "naive"),
    "mediapipe": ("wildhands_ros.ros.benchmark.peers", "mediapipe"),
}


@dataclass
class Stream:
    """What came of a node in one run."""

    sent: list[int] = field(default_factory=list)
    """Stamps in nanoseconds."""
    answers: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By stamp: time of arrival in nanoseconds, number of hands."""
    cpu_percent: float = 0.0
    """Of one core."""

    def figures(self) -> dict[str, float]:
        """Rates, ages and losses, without the first seconds."""
        begin = self.sent[0] + int(SETTLE * 1e9)
        sent = [stamp for stamp in self.sent if stamp >= begin]
        answered = [stamp for stamp in sent if stamp in self.answers]
        if len(answered) < 2:
            raise RuntimeError(
                f"only {len(answered)} of {len(sent)} images came back as hands: see the node's messages above"
            )
        arrivals = [self.answers[stamp][0] for stamp in answered]
        ages = np.array([arrival - stamp for arrival, stamp in zip(arrivals, answered, strict=True)]) / 1e6
        p50, p95 = np.percentile(ages, (50, 95))
        return {
            "fps": round((len(answered) - 1) / ((arrivals[-1] - arrivals[0]) / 1e9), 2),
            "age_p50_ms": round(float(p50), 2),
            "age_p95_ms": round(float(p95), 2),
            "age_mean_ms": round(float(ages.mean()), 2),
            "input_hz": round((len(sent) - 1) / ((sent[-1] - sent[0]) / 1e9), 2),
            "hands": round(float(np.mean([self.answers[stamp][1] for stamp in answered])), 3),
            "unanswered": len(sent) - len(answered),
            "cpu_percent": round(self.cpu_percent, 1),
        }


class Bench(Node):
    """Listens to everything as a robot's other nodes would: hands, and markers and transforms undecoded."""

    def __init__(self, namespaces: Sequence[str]):
        super().__init__("bench")
        self.answers: dict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
        for name in namespaces:
            self.create_subscription(
                HandArray, f"/{name}/hands", lambda message, name=name: self._on_hands(name, message), 10
            )
            self.create_subscription(MarkerArray, f"/{name}/hands/markers", lambda _: None, 1, raw=True)
        self.create_subscription(TFMessage, "/tf", lambda _: None, 100, raw=True)

    def _on_hands(self, name: str, message: HandArray) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        self.answers[name][stamp] = time.time_ns(), len(message.hands)


class Streams:
    """Nodes that run side by side and work in turns; ``nodes`` are kinds by namespace. Use within ``streams``."""

    def __init__(self, nodes: dict[str, subprocess.Popen]):
        self._nodes = nodes
        self._bench = Bench(list(nodes))

    def start(self, name: str) -> float:
        """Seconds from now to a node's first hands.

        :raises RuntimeError: there are none.
        """
        start = time.monotonic()
        with _camera([name], rate=10.0, seconds=START_TIMEOUT):
            while not self._bench.answers[name]:
                if time.monotonic() > start + START_TIMEOUT or self._nodes[name].poll() is not None:
                    raise RuntimeError(f"the node {name} gives no hands: see its messages above")
                rclpy.spin_once(self._bench, timeout_sec=0.1)
        return time.monotonic() - start

    def run(self, names: Sequence[str], rate: float, seconds: float) -> dict[str, Stream]:
        """Sends images to some of the nodes at once; ``rate`` in Hz, or 0 for as fast as the first one's hands come back.

        :raises RuntimeError: the camera failed.
        """
        self._bench.answers.clear()
        before = {name: cpu_seconds(self._nodes[name].pid) for name in names}
        start = time.monotonic()
        with _camera(names, rate, SETTLE + seconds) as camera:
            end = None
            while end is None or time.monotonic() < end:
                rclpy.spin_once(self._bench, timeout_sec=0.05)
                if end is None and camera.poll() is not None:
                    end = time.monotonic() + DRAIN
            output = camera.stdout.read()
        if camera.returncode or not output:
            raise RuntimeError("the benchmark's camera failed: see its messages above")
        elapsed = time.monotonic() - start
        sent = json.loads(output)
        return {
            name: Stream(
                sent[name],
                dict(self._bench.answers[name]),
                100 * (cpu_seconds(self._nodes[name].pid) - before[name]) / elapsed,
            )
            for name in names
        }

    def memory(self, name: str) -> dict[str, float]:
        """Resident megabytes of a node, now and at the peak."""
        return rss_mb(self._nodes[name].pid)


@contextmanager
def streams(kinds: dict[str, str]) -> Iterator[Streams]:
    """Starts nodes: kinds (of ``wildhands``, ``naive`` and ``mediapipe``) by namespace."""
    isolate_graph()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with _all(kinds) as nodes:
            yield Streams(nodes)
    finally:
        rclpy.try_shutdown()


@contextmanager
def _all(kinds: dict[str, str]) -> Iterator[dict[str, subprocess.Popen]]:
    if not kinds:
        yield {}
        return
    (name, kind), *others = kinds.items()
    module, *arguments = _COMMANDS[kind]
    ros_arguments = ["-r", f"__ns:=/{name}", "-p", f"tf_prefix:={name}_", "--log-level", "warn"]
    command = [sys.executable, "-m", module, *arguments, "--ros-args", *ros_arguments]
    with child_process(command) as node, _all(dict(others)) as rest:
        yield {name: node, **rest}


@contextmanager
def _camera(names: Sequence[str], rate: float, seconds: float) -> Iterator[subprocess.Popen]:
    command = [
        sys.executable,
        "-m",
        "wildhands_ros.ros.benchmark.camera",
        *names,
        "--rate",
        str(rate),
        "--seconds",
        str(seconds),
    ]
    with child_process(command, stdout=subprocess.PIPE, text=True) as camera:
        yield camera
