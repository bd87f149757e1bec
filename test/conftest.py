"""Settings for the whole suite."""

import os
import signal
from collections import Counter

import pytest

# Threads slow down small tensor operations on a test machine with few, shared cores. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts background jobs with SIGINT ignored, and their children inherit that: the processes whose end at Ctrl-C
# is tested would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SHORTEST_LISTED = 1.0
"""Seconds; test files that take less are left out of the summary."""


@pytest.fixture(scope="module")
def client():
    """A ROS node that subscribes to /diagnostics, for the tests of a module."""
    from diagnostic_msgs.msg import DiagnosticArray
    from ros_graph import Client

    client = Client()
    client.listen("/diagnostics", DiagnosticArray)
    yield client
    client.close()


@pytest.fixture(scope="session")
def annotated_bag(tmp_path_factory):
    """An annotated recording whose TF ends before its last two images."""
    from bag_samples import ANNOTATED_IMAGES, START, write_bag

    from wildhands_ros.config import EstimatorConfig
    from wildhands_ros.recording.camera_poses import PoseOptions
    from wildhands_ros.ros.recording.annotation import annotate
    from wildhands_ros.ros.recording.image_streams import AnnotationOptions
    from wildhands_ros.runtime.processes import Workers

    folder = tmp_path_factory.mktemp("annotated")
    times = [START - 0.02 + 0.02 * number for number in range(13)]
    bag = write_bag(folder / "bag", images=ANNOTATED_IMAGES, tf_times=times)
    options = AnnotationOptions(poses=PoseOptions("odom"))
    annotate(bag, folder / "hands", options, EstimatorConfig(checkpoint="none"), {}, Workers(1, map))
    return folder / "hands"


def pytest_terminal_summary(terminalreporter):
    """Prints the time that each test file took, slowest first, and the CPU time of the whole run."""
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("time per test file")
    for file, duration in seconds.most_common():
        if duration >= _SHORTEST_LISTED:
            terminalreporter.line(f"{duration:7.1f} s  {file}")
    cpu = os.times()
    total = cpu.user + cpu.system + cpu.children_user + cpu.children_system
    terminalreporter.line(f"{sum(seconds.values()):7.1f} s  in total; {total:.1f} s of CPU time, subprocesses included")
