"""SIGINT and SIGTERM at any moment: exit code 0 in two seconds and without a traceback."""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
if not Path("/proc/self/status").exists():
    pytest.skip("needs Linux's /proc", allow_module_level=True)

from ros_graph import Client, NodeProcess
from sensor_msgs.msg import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from measure_shutdown import LIMIT, PROGRAMS, end

pytestmark = [pytest.mark.ros, pytest.mark.slow]

BUSY = Path(__file__).with_name("busy_node.py")


@pytest.mark.parametrize("seed", range(8))
def test_a_signal_at_any_moment_ends_the_process(seed):
    programs = list(PROGRAMS)
    for _ in range(3):  # the machine may stall for seconds
        ending = end(programs[seed % len(programs)], random.Random(seed), longest=5)
        if ending.seconds < LIMIT or ending.code or "Traceback" in ending.output:
            break
    assert ending.is_clean, f"{ending}\n{ending.output}"


@pytest.mark.parametrize("signals", [1, 2, 10])
def test_a_busy_estimator_does_not_delay_the_end(tmp_path, signals):
    process, client = NodeProcess(tmp_path / "log", program=(str(BUSY),), intrinsics="guess"), Client()
    try:
        publisher = client.publisher("/image", Image)
        image = Image(width=8, height=8, encoding="mono8", step=8, data=bytes(64))
        client.until(lambda: "busy" in process.output, "an image in work", meanwhile=lambda: publisher.publish(image))
        start = time.monotonic()
        for _ in range(signals):
            process.process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        assert process.wait() == 0, process.output
        # The estimator is busy for a minute. A stall of the machine adds to the two seconds of the other test.
        assert time.monotonic() - start < 50
        assert "Traceback" not in process.output and "Exception" not in process.output, process.output
    finally:
        client.close()
        process.process.kill()
