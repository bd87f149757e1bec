"""`wildhands soak`: the node under overload, with a fault every few seconds; it may neither die nor grow nor fall behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor

from ...geometry.camera import Camera
from ...io.camera_files import load_calibration
from ...io.sources import open_source
from ..isolated_graph import isolate_graph
from ..share import share_folder
from .faults import FAULTS, Fault
from .robot import Robot

OVERLOAD = 3.0
"""Images a second over what the node can do."""
START_TIMEOUT = 300.0
"""Seconds to import and load everything on a busy machine."""
SEEN_TIMEOUT, HEALED_TIMEOUT = 30.0, 120.0
"""Seconds within which a fault must show, and hands must come again after it."""
CALM = 1.0
"""Seconds between a fault's end and the next one."""
WARM_UP = 0.25
"""Part of the time after which memory is taken as grown to its size."""


@dataclass
class Tally:
    """What happened to one fault."""

    injected: int = 0
    survived: int = 0


@dataclass
class Report:
    """What `wildhands soak --json` writes."""

    minutes: float
    frames_in: int = 0
    frames_out: int = 0
    faults: dict[str, Tally] = field(default_factory=dict)
    ages: list[float] = field(default_factory=list)
    """95th percentile of each window of the diagnostics, milliseconds."""
    works: list[float] = field(default_factory=list)
    rss: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the start, megabytes."""
    deaths: int = 0

    def data(self) -> dict:
        start, end = self._memory()
        return {
            "minutes": round(self.minutes, 2),
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "faults": {name: vars(tally) for name, tally in self.faults.items()},
            "age_p95_ms": _percentile(self.ages, 95),
            "work_p95_ms": _percentile(self.works, 95),
            "rss_start_mb": start,
            "rss_end_mb": end,
            "deaths": self.deaths,
        }

    def complaints(self) -> list[str]:
        """What was not as it must be."""
        data = self.data()
        found = [f"the node died {self.deaths} times"] if self.deaths else []
        lost = {name: tally.injected - tally.survived for name, tally in self.faults.items()}
        found += [
            f"{name}: {count} of {self.faults[name].injected} not survived" for name, count in lost.items() if count
        ]
        if not data["frames_out"]:
            return [*found, "no hands came"]
        if data["age_p95_ms"] > 2 * data["work_p95_ms"]:
            found.append(
                f"hands were {data['age_p95_ms']:.0f} ms old, more than twice the work's {data['work_p95_ms']:.0f} ms"
            )
        if data["rss_end_mb"] > 1.02 * data["rss_start_mb"]:
            found.append(f"memory grew from {data['rss_start_mb']:.0f} to {data['rss_end_mb']:.0f} MB")
        return found

    def _memory(self) -> tuple[float, float]:
        """The highest in the second quarter of the time and in the last one: it goes up and down with the model."""
        if not self.rss:
            return 0.0, 0.0
        end = self.rss[-1][0]
        after_warm_up = [mb for seconds, mb in self.rss if WARM_UP * end <= seconds <= 2 * WARM_UP * end]
        last = [mb for seconds, mb in self.rss if seconds >= (1 - WARM_UP) * end]
        return max(after_warm_up, default=self.rss[0][1]), max(last)


def run_soak(minutes: float, json_file: Path | None) -> int:
    """Prints and writes the report; the exit code is 0 where all is as it must be.

    :raises OSError: the report cannot be written.
    """
    with demo_robot() as robot:
        report = Soak(robot).run(60 * minutes)
    text = json.dumps(report.data(), indent=2)
    print(text)
    if json_file:
        json_file.write_text(text + "\n")
    for complaint in report.complaints():
        print(f"wildhands: {complaint}", file=sys.stderr)
    return int(bool(report.complaints()))


@contextmanager
def demo_robot() -> Iterator[Robot]:
    """A robot that shows the demo's clip, on a domain of its own."""
    isolate_graph()
    pictures, camera = demo_pictures(640, 360, 30)
    rclpy.init()
    try:
        node = rclpy.create_node("soak_robot")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        yield Robot(node, executor, "", pictures, camera)
    finally:
        rclpy.try_shutdown()


def start_node() -> subprocess.Popen:
    """The node under test, in a process of its own."""
    command = [sys.executable, "-m", "wildhands_ros.ros.soak.node", "--ros-args", "--log-level", "error"]
    return subprocess.Popen(command, start_new_session=True)


def demo_pictures(width: int, height: int, count: int) -> tuple[list[np.ndarray], Camera]:
    """Pictures of the demo's clip in which there are hands, scaled, and their camera."""
    import cv2

    source = open_source(str(share_folder("demo") / "clip.mp4"))
    frames = [frame.image for _, frame in zip(range(30 + count), source, strict=False)][30:]
    camera, _ = load_calibration(share_folder("demo") / "camera_info.yaml").camera(width, height, rectified=False)
    return [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames], camera


class Soak:
    """Runs the node's process and the faults."""

    def __init__(self, robot: Robot):
        self._robot = robot
        robot.on_diagnostics = self._on_diagnostics
        self._report = Report(0.0, faults={name: Tally() for name in FAULTS})
        self._works: deque[float] = deque(maxlen=10)
        self._start = time.monotonic()

    def run(self, seconds: float) -> Report:
        with self._processes():
            self._robot.rate = 5.0
            self._healthy(START_TIMEOUT)
            self._start = time.monotonic()
            self._robot.sent = self._robot.hands_received = 0
            for name in cycle(FAULTS):
                if time.monotonic() - self._start > seconds:
                    break
                self._inject(FAULTS[name], self._report.faults[name])
            self._report.frames_in, self._report.frames_out = self._robot.sent, self._robot.hands_received
        self._report.minutes = (time.monotonic() - self._start) / 60
        return self._report

    def _inject(self, fault: Fault, tally: Tally) -> None:
        robot = self._robot
        self._overload()
        robot.spin(lambda: False, CALM)
        before, deaths = robot.count(fault.shows), self._report.deaths
        tally.injected += 1
        fault.begin(robot)
        seen = robot.spin(lambda: fault.seen(robot, before) or self._revive(), SEEN_TIMEOUT)
        fault.end(robot)
        robot.heal()
        healthy = self._healthy(HEALED_TIMEOUT)
        tally.survived += seen and healthy and self._report.deaths == deaths

    def _healthy(self, timeout: float) -> bool:
        """Hands come, under the stamps of now."""

        def fresh() -> bool:
            self._revive()
            hands = self._robot.last_hands
            return (
                hands is not None
                and hands is not last
                and bool(hands.hands)
                and abs(hands.header.stamp.sec - time.time()) < 5
            )

        last = self._robot.last_hands
        return self._robot.spin(fresh, timeout)

    def _overload(self) -> None:
        if self._works:
            self._robot.rate = float(np.clip(OVERLOAD * 1e3 / np.median(self._works), 5.0, 200.0))

    def _on_diagnostics(self, values: dict[str, str]) -> None:
        if (rss := self._rss()) is not None:
            self._report.rss.append((time.monotonic() - self._start, rss))
        if values["age p95 (ms)"] != "unknown":
            self._report.ages.append(float(values["age p95 (ms)"]))
            self._report.works.append(float(values["processing p95 (ms)"]))
            self._works.append(float(values["processing p50 (ms)"]))

    def _rss(self) -> float | None:
        """Megabytes of the node's process."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _revive(self) -> bool:
        """Starts the node again if it has died, and counts that."""
        if self._process.poll() is not None:
            self._report.deaths += 1
            self._process = start_node()
        return False

    @contextmanager
    def _processes(self) -> Iterator[None]:
        self._process = start_node()
        try:
            yield
        finally:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._report.deaths += 1


def _percentile(values: list[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 1) if values else 0.0
