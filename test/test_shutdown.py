"""SIGINT and SIGTERM at any moment: exit code 0 in two seconds and without a traceback."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
if not Path("/proc/self/status").exists():
    pytest.skip("needs Linux's /proc", allow_module_level=True)

from ros_graph import Client, NodeProcess
from sensor_msgs.msg import Image

pytestmark = [pytest.mark.ros, pytest.mark.slow]

BUSY = Path(__file__).with_name("busy_node.py")
PROGRAMS = {
    "node": ("-m", "wildhands_ros.ros.node"),
    "teleop": ("-m", "wildhands_ros.ros.teleop.node"),
    "busy": (str(BUSY),),
}
SHORT = 2.0
"""Seconds from a signal to the end."""
LONG = 8.0
"""The same on a machine with more work than cores, where importing a library can keep the interpreter for seconds."""


def limit() -> float:
    return SHORT if os.getloadavg()[0] < (os.cpu_count() or 1) else LONG


def started(process: NodeProcess) -> None:
    """Waits until Python itself has started and the process handles SIGTERM, before which nothing of ours can run."""
    status = Path("/proc") / str(process.process.pid) / "status"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        caught = re.search(r"SigCgt:\s*(\w+)", status.read_text())
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise TimeoutError("the process does not start")


def ended_by(process: NodeProcess, numbers: tuple[int, ...], gap: float) -> float:
    """Sends signals, checks how the process ends, and returns the seconds that it took."""
    start = time.monotonic()
    for number in numbers:
        if process.process.poll() is None:
            process.process.send_signal(number)
        time.sleep(gap)
    code = process.wait()
    seconds = time.monotonic() - start
    assert code == 0, process.output
    assert "Traceback" not in process.output and "Exception" not in process.output, process.output
    return seconds


@pytest.mark.parametrize("moment", range(12))
def test_a_signal_at_any_moment_ends_the_process(tmp_path, moment):
    rng = random.Random(moment)
    name = ("node", "teleop")[moment % 2]
    process = NodeProcess(tmp_path / "log", program=PROGRAMS[name])
    started(process)
    time.sleep(rng.uniform(0, 5))
    signals = rng.choice([(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT,) * 2, (signal.SIGINT,) * 5])
    assert ended_by(process, signals, rng.uniform(0, 0.3)) < limit() + len(signals) * 0.3


@pytest.mark.parametrize("signals", [1, 2, 10])
def test_a_busy_estimator_does_not_delay_the_end(tmp_path, signals):
    process, client = NodeProcess(tmp_path / "log", program=PROGRAMS["busy"], intrinsics="guess"), Client()
    try:
        publisher = client.publisher("/image", Image)
        image = Image(width=8, height=8, encoding="mono8", step=8, data=bytes(64))
        client.until(lambda: "busy" in process.output, "an image in work", meanwhile=lambda: publisher.publish(image))
        assert ended_by(process, (signal.SIGINT,) * signals, 0.05) < limit() + 0.05 * signals
    finally:
        client.close()
        process.process.kill()
