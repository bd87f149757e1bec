"""SIGINT and SIGTERM at any moment: exit code 0 in two seconds, without a traceback."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ros_graph import Client, NodeProcess
from sensor_msgs.msg import CameraInfo, Image

pytestmark = [pytest.mark.ros, pytest.mark.slow]

BUSY = Path(__file__).with_name("busy_node.py")
PROGRAMS = {
    "node": ("-m", "wildhands_ros.ros.node"),
    "teleop": ("-m", "wildhands_ros.ros.teleop.node"),
    "busy": (str(BUSY),),
}
SHORT = 2.0
"""Seconds from a signal to the end."""
BEFORE = 0.15
"""Seconds that Python itself takes to start, before anything of ours can handle a signal."""


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
    time.sleep(BEFORE + rng.uniform(0, 5))
    signals = rng.choice([(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT,) * 2, (signal.SIGINT,) * 5])
    assert ended_by(process, signals, rng.uniform(0, 0.3)) < SHORT + len(signals) * 0.3


@pytest.mark.parametrize("signals", [1, 2, 10])
def test_a_busy_estimator_does_not_delay_the_end(tmp_path, signals):
    process, client = NodeProcess(tmp_path / "log", program=PROGRAMS["busy"], intrinsics="guess"), Client()
    try:
        publisher = client.publisher("/image", Image)
        client.publisher("/camera_info", CameraInfo)
        image = Image(width=8, height=8, encoding="mono8", step=8, data=bytes(64))
        client.until(lambda: "busy" in process.output, "an image in work", meanwhile=lambda: publisher.publish(image))
        assert ended_by(process, (signal.SIGINT,) * signals, 0.05) < SHORT
    finally:
        client.close()
        process.process.kill()
