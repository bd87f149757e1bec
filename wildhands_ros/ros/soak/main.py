"""``wildhands soak``: runs the node under overload, with other loads and a fault every few seconds.

The node must not die, its memory must not grow, and its hands must not fall behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import cycle
from pathlib import Path

import numpy as np

from ...io.files import OutputFile
from ...io.progress import LOADING, busy, with_progress
from .demo_robot import START_TIMEOUT, demo_robot, start_node
from .faults import FAULTS, Fault
from .loads import LOADS, Load
from .report import FaultCount, MemorySample, Report, Timing
from .robot import Robot

OVERLOAD = 3.0
"""Rate of the images, as a multiple of what the node can process."""
SEEN_TIMEOUT, HEALED_TIMEOUT = 60.0, 120.0
"""Seconds within which a fault must show in diagnostics, and hands must be published again after it."""
PAUSE = 0.5
"""Seconds between two faults."""
STOP_TIMEOUT = 60.0


def run_soak(minutes: float, load_seconds: float, json_file: Path | None) -> int:
    """Prints the report and writes it to a file.

    Args:
        minutes: duration; longer if each load and fault takes longer.
        load_seconds: duration of each load.
        json_file: file for the report.

    Returns:
        The exit code: 1 if something went wrong, with the reasons on stderr.

    Raises:
        OSError: the file cannot be written.
    """
    with OutputFile(json_file) if json_file else nullcontext() as partial_file:
        with demo_robot() as robot:
            report = Soak(robot, load_seconds).run(60 * minutes)
        text = json.dumps(report.as_dict(), indent=2)
        print(text)
        if partial_file:
            partial_file.write_text(text + "\n")
    failures = report.failures()
    for failure in failures:
        print(f"wildhands: {failure}", file=sys.stderr)
    return int(bool(failures))


class Soak:
    """Runs the node's process, applies the loads and injects the faults."""

    _process: subprocess.Popen[bytes]

    def __init__(self, robot: Robot, load_seconds: float):
        self._robot, self._load_seconds = robot, load_seconds
        self._is_loaded = False
        robot.on_diagnostics = self._on_diagnostics
        self._report = Report(faults={name: FaultCount() for name in (*LOADS, *FAULTS)})
        self._processing_times: deque[float] = deque(maxlen=10)
        self._start = time.monotonic()

    def run(self, seconds: float) -> Report:
        """Applies loads and injects faults for this time, each of them once at least, and returns the report."""
        with self._running_node():
            self._robot.rate = 5.0
            with busy(f"starting the node: {LOADING}"):
                self._wait_for_hands(START_TIMEOUT)
            self._start = time.monotonic()
            self._robot.sent = self._robot.hands_received = 0
            names = (*LOADS, *FAULTS)
            for number, name in enumerate(with_progress(cycle(names), None, "load or fault")):
                if number >= len(names) and time.monotonic() - self._start > seconds:
                    break
                if name in LOADS:
                    self._apply(LOADS[name], self._report.faults[name])
                else:
                    self._inject(FAULTS[name], self._report.faults[name])
            self._report.frames_in, self._report.frames_out = self._robot.sent, self._robot.hands_received
        self._report.minutes = (time.monotonic() - self._start) / 60
        return self._report

    def _apply(self, load: Load, count: FaultCount) -> None:
        robot, deaths = self._robot, self._report.deaths
        count.injected += 1
        self._is_loaded = True
        did_as_promised = load.apply(robot, self._load_seconds)
        self._restart_if_dead()
        robot.heal()
        self._set_overload()
        healed = self._wait_for_hands(HEALED_TIMEOUT)
        self._is_loaded = False
        count.survived += did_as_promised and healed and self._report.deaths == deaths

    def _inject(self, fault: Fault, count: FaultCount) -> None:
        robot = self._robot
        self._set_overload()
        robot.spin(lambda: False, PAUSE)
        before, deaths = robot.count(fault.shows), self._report.deaths
        count.injected += 1
        fault.begin(robot)

        def is_seen() -> bool:
            self._restart_if_dead()
            return fault.seen(robot, before)

        seen = robot.spin(is_seen, SEEN_TIMEOUT)
        fault.end(robot)
        robot.heal()
        healed = self._wait_for_hands(HEALED_TIMEOUT)
        count.survived += seen and healed and self._report.deaths == deaths

    def _wait_for_hands(self, timeout: float) -> bool:
        """Waits for hands with a recent stamp; returns whether there were any."""
        last = self._robot.last_hands

        def has_new_hands() -> bool:
            self._restart_if_dead()
            message = self._robot.last_hands
            if message is None or message is last or not message.hands:
                return False
            return abs(message.header.stamp.sec - time.time()) < 5

        return self._robot.spin(has_new_hands, timeout)

    def _set_overload(self) -> None:
        if self._processing_times:
            self._robot.rate = float(np.clip(OVERLOAD * 1e3 / np.median(self._processing_times), 5.0, 200.0))

    def _on_diagnostics(self, values: Mapping[str, str]) -> None:
        if self._is_loaded:  # images of another size take other times and more memory
            return
        if (rss := self._rss_mb()) is not None:
            self._report.memory.append(MemorySample(time.monotonic() - self._start, rss))
        if values["age p95 (ms)"] != "unknown":
            timing = Timing(float(values["age p95 (ms)"]), float(values["processing p95 (ms)"]))
            self._report.timings.append(timing)
            self._processing_times.append(float(values["processing p50 (ms)"]))

    def _rss_mb(self) -> float | None:
        """Returns the resident memory of the node; None if its process has ended."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return None
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _restart_if_dead(self) -> None:
        """Starts the node again if it has died, and counts that."""
        if self._process.poll() is not None:
            self._report.deaths += 1
            self._process = start_node()

    @contextmanager
    def _running_node(self) -> Iterator[None]:
        self._process = start_node()
        try:
            yield
        finally:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._report.deaths += 1
