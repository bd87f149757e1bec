"""`wildhands soak` with the real network, each load and fault once. On a robot it runs for 30 minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from wildhands_ros.ros.soak.faults import FAULTS
from wildhands_ros.ros.soak.loads import LOADS
from wildhands_ros.ros.soak.report import FaultCount, MemorySample, Report, Timing

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parent.parent
needs_clip = pytest.mark.skipif(not (ROOT / "demo" / "clip.mp4").is_file(), reason="the demo clip is not there")


@needs_clip
def test_every_load_and_fault_once(tmp_path):
    out = tmp_path / "soak.json"
    command = [sys.executable, "-m", "wildhands_ros.cli.main", "soak", "--minutes", "0.01", "--load-seconds", "1"]
    command += ["--json", str(out)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=900
    )
    assert out.is_file(), result.stderr
    report = json.loads(out.read_text())
    keys = (
        "minutes",
        "frames_in",
        "frames_out",
        "faults",
        "age_p95_ms",
        "work_p95_ms",
        "rss_start_mb",
        "rss_end_mb",
        "deaths",
    )
    assert tuple(report) == keys
    assert report["deaths"] == 0 and report["minutes"] > 0
    assert set(report["faults"]) == {*FAULTS, *LOADS}
    assert {name: count for name, count in report["faults"].items() if count != {"injected": 1, "survived": 1}} == {}
    assert report["frames_in"] > 1.5 * report["frames_out"] > 0, "there was no overload"
    assert report["age_p95_ms"] <= 2 * report["work_p95_ms"]
    # A minute cannot tell growth from models that are being loaded (1.13 measured). The longer run demands 2 %.
    assert report["rss_end_mb"] < 1.25 * report["rss_start_mb"]


def report(**changes) -> Report:
    values = {
        "minutes": 1.0,
        "frames_in": 300,
        "frames_out": 100,
        "faults": {"k_zero": FaultCount(2, 2)},
        "timings": [Timing(age=60.0, processing=50.0)],
        "memory": [MemorySample(float(second), 1000.0) for second in range(60)],
    }
    return Report(**values | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"deaths": 1}, "died 1"),
        ({"faults": {"k_zero": FaultCount(3, 2)}}, "k_zero: 1 of 3"),
        ({"frames_out": 0}, "no hands"),
        ({"timings": [Timing(age=101.0, processing=50.0)]}, "twice"),
        ({"memory": [MemorySample(float(second), 1000.0 + second) for second in range(60)]}, "memory grew"),
    ],
)
def test_failures_are_reported(changes, words):
    assert report().failures() == []
    (failure,) = report(**changes).failures()
    assert words in failure
