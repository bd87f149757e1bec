"""`wildhands bench` with the real node over DDS: tests that it measures, not how fast the machine is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from several_cameras import TrueHand, observed

pytest.importorskip("rclpy")

from wildhands_ros.benchmark import fits
from wildhands_ros.benchmark.clip import load_clip
from wildhands_ros.benchmark.figures import alternating, percentiles, ratio
from wildhands_ros.benchmark.fits import fusion_figures, measure_depth_fit
from wildhands_ros.benchmark.limits import TRUNK_GMAC, trunk_limit_ms
from wildhands_ros.benchmark.machine import pss_mb
from wildhands_ros.benchmark.stages import FIT, POSE
from wildhands_ros.benchmark.stills import Run, still_figures
from wildhands_ros.cli.main import main
from wildhands_ros.ros.benchmark.annotation import AnnotationRun, annotation_figures
from wildhands_ros.ros.benchmark.overhead import STEPS
from wildhands_ros.ros.benchmark.streams import Answer, StreamRun


@pytest.mark.ros
def test_quick_run(tmp_path, capfd):
    pytest.importorskip("mediapipe")
    output = tmp_path / "bench.json"
    assert main(["bench", "--quick", "--seconds", "1", "--json", str(output)]) == 0
    figures = json.loads(output.read_text())
    stream = figures["end_to_end"]
    assert stream["input_hz"] > 0 and stream["fps"] > 0 and 0 < stream["age_p50_ms"] <= stream["age_p95_ms"]
    assert stream["hands"] > 1.5, "both hands are in view"
    assert stream["cpu_percent"] > 0 and 100 < figures["rss_mb"] <= figures["peak_rss_mb"]
    assert figures["peak_fps"] > 0 and figures["start_up_s"] > 0
    assert {FIT, POSE, "fit_per_hand", *STEPS} < figures["stages"].keys()
    for stage, times in figures["stages"].items():
        assert 0 <= times["p50_ms"] <= times["p95_ms"], stage
    assert figures["fit_ms"] > 0 and figures["node_overhead_ms"] > 0 and figures["markers_ms"] > 0
    assert figures["machine"]["cores"] >= figures["machine"]["cpus"] >= 1 and figures["machine"]["flags"]
    # Both are times of one frame: the trunk's arithmetic alone, and everything.
    assert 1 < figures["frame_over_limit"] == pytest.approx(figures["frame_ms"] / figures["trunk_limit_ms"], rel=0.01)
    assert 1 < figures["gemm_gflops_core"] < 1000
    assert figures["peers"].keys() == {"mediapipe"} and figures["peers"]["mediapipe"]["fps"] > 0


def test_the_figures_of_a_long_recording_follow_from_two_short_ones():
    short = AnnotationRun(frames=300, seconds=14.0, cpu_seconds=20.0, main_mb=200.0, workers_mb=900.0)
    long = AnnotationRun(frames=900, seconds=32.0, cpu_seconds=50.0, main_mb=206.0, workers_mb=880.0)
    figures = annotation_figures(short, long)
    assert figures["ms_per_frame"] == 30 and figures["cpu_ms_per_frame"] == 50
    half_an_hour = figures["of_30_minutes"]
    assert half_an_hour["minutes"] == round((5 + 54000 * 0.03) / 60, 1)
    assert half_an_hour["memory_mb"] == 206 + 531 + 900
    assert half_an_hour["times_real_time"] == round(1800 / 1625, 2)


@pytest.mark.slow
def test_annotation_is_measured(tmp_path, capfd):
    output = tmp_path / "bench.json"
    assert main(["bench", "annotation", "--seconds", "1", "--json", str(output)]) == 0
    figures = json.loads(output.read_text())["annotation"]
    assert figures["frames"] == [10, 30] and figures["seconds"][0] > 0
    assert all(300 < memory < 4000 for memory in figures["memory_mb"])


def test_the_memory_of_a_process_includes_that_of_its_children():
    command = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout.readline() == "1\n"
        memory = pss_mb(parent.pid)
        parent.communicate("\n")
    assert len(memory) == 2 and all(1 < each < 100 for each in memory.values())


def test_the_limit_is_the_trunks_arithmetic():
    """Counts the multiplications of the trunk's convolutions."""
    torch = pytest.importorskip("torch")
    from wildhands_ros.network.landmark_net import LandmarkTrunk

    count = 0

    def add(layer, _, output):
        nonlocal count
        count += layer.weight.numel() * output.shape[2] * output.shape[3]

    trunk = LandmarkTrunk()
    for layer in trunk.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        trunk(torch.zeros(1, 3, 224, 224))
    assert count / 1e9 == pytest.approx(TRUNK_GMAC, abs=5e-4)
    assert trunk_limit_ms(66.2, hands=2, cores=8) == trunk_limit_ms(66.2, hands=1, cores=1) == pytest.approx(10)
    assert trunk_limit_ms(66.2, hands=2, cores=1) == pytest.approx(20)


def test_unknown_parts_and_unwritable_outputs_fail_at_once(tmp_path, capsys):
    assert main(["bench", "everything"]) == 2
    assert "hands_curve" in capsys.readouterr().err
    assert main(["bench", "stages", "--json", str(tmp_path / "no/such/folder.json")]) == 2


def test_figures_exclude_the_first_seconds():
    second = 10**9
    sent = [i * second // 10 for i in range(50)]
    # Answered slowly at first, then after 20 ms; the last two not at all. The first image has three hands, others two.
    delays = [second if stamp < 2 * second else second // 50 for stamp in sent]
    answers = {stamp: Answer(stamp + delay, 2) for stamp, delay in zip(sent[:-2], delays, strict=False)}
    answers[0] = Answer(second, 3)
    figures = StreamRun(sent, answers, 50.0).figures()
    assert figures["age_p50_ms"] == figures["age_p95_ms"] == 20 and figures["hands"] == 2
    assert figures["fps"] == figures["input_hz"] == 10 and figures["unanswered"] == 2
    with pytest.raises(RuntimeError, match="0 of 30"):
        StreamRun(sent, {}).figures()


def test_comparisons_alternate():
    order = []
    seconds = alternating({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4 and len(seconds["a"]) == len(seconds["b"]) == 3
    assert ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == {"ratio": 2.0, "ratio_quartiles": [2.0, 2.5]}
    assert percentiles(np.arange(101) / 1000) == {"p50_ms": 50.0, "p95_ms": 95.0}


def test_a_further_image_takes_what_it_adds():
    figures = still_figures(Run(3.0, 2.0), Run(5.0, 3.2), Run(8.0, 7.0), images=5)
    assert figures["first_s"] == 3.0 and figures["first_cpu_s"] == 2.0 and figures["first_without_cache_s"] == 8.0
    assert figures["further_s"] == 0.5 and figures["further_cpu_s"] == 0.3


@pytest.mark.slow
def test_stills_are_measured(tmp_path):
    photographs, output = tmp_path / "photographs", tmp_path / "bench.json"
    photographs.mkdir()
    for name in ("letter_b.jpg", "hammer_on_hand.jpg"):
        shutil.copy(Path(__file__).parent / "data" / "images" / name, photographs)
    arguments = ["bench", "stills", "--photographs", str(photographs), "--json", str(output)]
    assert main(arguments) == 0
    stills = json.loads(output.read_text())["stills"]
    assert stills["images"] == 2 and stills["first_cpu_s"] > 0 < stills["first_without_cache_cpu_s"]


def test_photographs_must_be_at_least_two(tmp_path, capsys):
    assert main(["bench", "stills", "--photographs", str(tmp_path)]) == 2
    assert "at least two photographs" in capsys.readouterr().err


@pytest.mark.slow
def test_fits_to_depth_and_to_several_cameras_are_measured(monkeypatch):
    monkeypatch.setattr(fits, "WARM_UP", 2)
    clip = load_clip(Path(__file__).parent.parent / "demo", frames=4)
    figures = measure_depth_fit(clip, frames=2)
    assert figures["hands"] == 2 and figures["depth_used_percent"] > 0
    assert 0 < figures["depth_per_hand"]["p50_ms"] < figures["depth"]["p50_ms"]
    truth = TrueHand(1)
    seen = [(number / 30, observed(truth, "left right top", number)) for number in range(3)]
    fusion = fusion_figures([(stamp, dict(hands)) for stamp, hands in seen])
    assert fusion["cameras"] == 3 and fusion["per_hand"]["p50_ms"] > 0
    with pytest.raises(RuntimeError, match="no hand was seen"):
        fusion_figures([(0.0, {"left": [], "right": []})])
