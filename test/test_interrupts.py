"""Ctrl-C while a command works: it ends within two seconds, and says what becomes of its outputs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.io.files import kept_on_success, output_folder, remove_partial_files
from wildhands_ros.io.progress import STARTING

pytestmark = pytest.mark.alone

CHILD = """
import sys, time
from wildhands_ros.cli import main, options, estimate
import numpy as np
from wildhands_ros.types import FrameEstimate

class Slow:
    faces = {{}}
    def __call__(self, image, camera, stamp):
        print("busy", flush=True)
        {work}
        return FrameEstimate((), camera, 0, {{}})

estimate.make_estimator = lambda args: Slow()
sys.exit(main.main(sys.argv[1:]))
"""
PYTHON, LIBRARY = "time.sleep(0.2)", "import ctypes; [ctypes.CDLL(None).sleep(30) for _ in range(9)]"
"""A library that works for long and does not notice signals; ctypes.CDLL releases the GIL, as OpenVINO does."""


@pytest.fixture
def video(tmp_path) -> Path:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for _ in range(200):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    return path


def interrupted(program: str, arguments: list[str], number: signal.Signals, folder: Path) -> str:
    """Runs a program, sends it a signal once it is busy, and returns what it and its children wrote to stderr.

    The machine may stall for seconds, so the best of three runs must end in time.
    """
    for last in (False, False, True):
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "busy\n", process.stderr.read()
        start = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)  # until the children have closed stderr, too
        seconds = time.monotonic() - start
        assert process.returncode == 130 and "Traceback" not in errors
        # On a machine with more work than cores it takes longer, as everything does.
        if seconds < 2 + 2 * os.getloadavg()[0] / (os.cpu_count() or 1):
            break
        assert not last, f"it took {seconds:.1f} s"
    return errors


@pytest.mark.parametrize("work", [PYTHON, LIBRARY])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_estimate_ends_soon_and_leaves_no_half_file(tmp_path, video, work, number):
    outputs = ["--json", str(tmp_path / "out.json"), "--overlay", str(tmp_path / "out.mp4")]
    errors = interrupted(CHILD.format(work=work), ["estimate", str(video), *outputs], number, tmp_path)
    assert "interrupted" in errors and "out.json" in errors and "not written" in errors
    assert {path.name for path in tmp_path.iterdir()} == {"video.avi"}


COMMAND = """
import sys, time
from importlib import import_module

{prepare}

def work(*arguments, **options):
    print("busy", flush=True)
    {work}

setattr(import_module("wildhands_ros.{module}"), "{function}", work)
from wildhands_ros.cli import main
sys.exit(main.main(sys.argv[1:]))
"""
NO_ESTIMATOR = "from wildhands_ros.cli import evaluation; evaluation.make_estimator = lambda args: None"
NO_CAMERA = "import wildhands_ros.estimator as e; e.Estimator = lambda config: None"
COMMANDS = {
    "evaluate": ("evaluate depth", "evaluation.main", "evaluate_with_depth", NO_ESTIMATOR, "no figures were written"),
    "quantize": ("quantize", "evaluation.int8", "quantize_checkpoint", "", "no network was written"),
    "synth": ("synth x", "synthetic.main", "write_split", "", "images so far are kept"),
    "annotate": ("annotate x.mp4 --jobs 1", "ros.recording.annotation", "annotate", "", "finished segments are kept"),
    "export": ("export parquet x", "recording.table_export", "export_parquet", "", "no demonstrations were written"),
    "jitter": ("jitter {video}", "evaluation.main", "measure_video_jitter", NO_ESTIMATOR, "no figures were written"),
    "ablate": ("ablate", "evaluation.ablation.main", "run", "", "finished runs are kept"),
    "import-checkpoint": (
        "import-checkpoint {video} --output x.safetensors",
        "network.import_checkpoint",
        "import_checkpoint",
        "",
        "no network was written",
    ),
    "export-onnx": ("export-onnx x.onnx", "network.checkpoint", "load_model", "", "no network was written"),
    "report": ("report x.mcap", "ros.recording.report", "write_reports", "", "no report was written"),
    "train-detector": ("train-detector x.yaml", "training.detector.main", "run", "", "run the same command again"),
    "train": ("train x.yaml", "training.main", "run", "", "run the same command again"),
    "self-label": (
        "self-label x --output y.json",
        "datasets.real_images.self_labels",
        "label_folder",
        "",
        "no labels were written",
    ),
    "view": ("view {video}", "visualization.view_stream", "view_stream", NO_CAMERA, ""),
}


@pytest.mark.parametrize(
    ("name", "work"),
    [*((name, PYTHON + "; work()") for name in COMMANDS), *((name, LIBRARY) for name in ("evaluate", "annotate"))],
)
def test_every_long_command_ends_soon_and_says_what_is_kept(video, name, work):
    arguments, module, function, prepare, said = COMMANDS[name]
    if name in ("annotate", "export", "report"):
        pytest.importorskip("rclpy")
    program = COMMAND.format(prepare=prepare, work=work, module=module, function=function)
    number = signal.SIGTERM if work == LIBRARY else signal.SIGINT
    errors = interrupted(program, arguments.format(video=video).split(), number, video.parent)
    assert said in errors
    assert {path.name for path in video.parent.iterdir()} == {"video.avi"}


def test_a_command_that_is_still_being_imported_ends_without_a_traceback(tmp_path):
    """Its modules take a moment, during which Python itself would print a traceback."""
    program = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "wildhands_ros.cli.main":
            print("busy", flush=True)
            time.sleep(30)

sys.meta_path.insert(0, Slow())
from wildhands_ros.cli.program import main
sys.exit(main())
"""
    assert interrupted(program, ["--help"], signal.SIGINT, tmp_path) in ("", f"{STARTING}\n")


def test_large_libraries_do_not_delay_the_end(tmp_path):
    """Their cleaning up at the end of the interpreter, for which this handler stands, takes seconds."""
    program = """
import atexit, sys, time
from wildhands_ros.cli import main, program

def work(arguments=None):
    try:
        print("busy", flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        return 130

atexit.register(time.sleep, 30)
main.main = work
sys.exit(program.main())
"""
    assert interrupted(program, [], signal.SIGINT, tmp_path) in ("", f"{STARTING}\n")


def test_nodes_end_with_a_command_that_is_killed():
    pytest.importorskip("rclpy")
    node = "import time; print('ready', flush=True); time.sleep(600)"
    program = f"""
import sys
from wildhands_ros.ros.isolated_graph import child_process

with child_process([sys.executable, "-c", {node!r}]) as node:
    node.wait()
"""
    command = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None and command.stdout.readline() == "ready\n"
    command.kill()
    command.communicate(timeout=300)  # until the node has ended, too


def test_a_file_is_kept_only_if_the_work_on_it_succeeds(tmp_path):
    kept, removed = tmp_path / "kept", tmp_path / "removed"
    for path in (kept, removed):
        path.write_text("")
    with kept_on_success(kept):
        assert remove_partial_files() == [kept]
        kept.write_text("")
    with pytest.raises(KeyboardInterrupt), kept_on_success(removed):
        raise KeyboardInterrupt
    assert kept.exists() and not removed.exists() and remove_partial_files() == []


def test_a_folder_is_kept_only_if_the_work_on_it_succeeds(tmp_path):
    with output_folder(tmp_path / "kept") as partial:
        partial.mkdir()
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "removed") as partial:
        partial.mkdir()
        (partial / "a").touch()
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError), output_folder(tmp_path / "ended") as partial:
        (partial / "a").mkdir(parents=True)
        assert remove_partial_files() == [tmp_path / "ended"]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_program_that_reports_nothing_says_that_it_is_starting(capsys, monkeypatch):
    from wildhands_ros.io import progress

    def reported(work) -> str:
        monkeypatch.setattr(progress, "_spoke", threading.Event())
        with progress.starting():
            work()
        return capsys.readouterr().err

    def wait():
        for _ in range(1000):
            time.sleep(0.02)
            if text := capsys.readouterr().err:
                sys.stderr.write(text)
                return

    monkeypatch.setattr(progress, "FIRST_REPORT", 0.05)
    assert reported(wait) == f"{STARTING}\n"
    monkeypatch.setattr(progress, "FIRST_REPORT", 1000.0)
    assert reported(lambda: None) == ""
    assert reported(lambda: progress.warn("a")) == "wildhands: a\n"


def test_work_without_steps_is_reported_while_it_lasts(capsys, monkeypatch):
    from wildhands_ros.io import progress

    monkeypatch.setattr(progress, "FIRST_REPORT", 0.05)
    monkeypatch.setattr(progress, "REPORT_PERIOD", 0.1)
    text = ""
    with progress.busy("loading"):
        for _ in range(1000):
            if (text := text + capsys.readouterr().err).count("\n") > 1:
                break
            time.sleep(0.05)
    lines = text.splitlines()
    assert lines[0] == "wildhands: loading" and "so far" in lines[1]
    monkeypatch.setattr(progress, "FIRST_REPORT", 1000.0)
    with progress.busy("quick work"):
        pass
    assert not capsys.readouterr().err


def test_progress_without_a_terminal(capsys, monkeypatch):
    from wildhands_ros.io import progress

    monkeypatch.setattr(progress, "FIRST_REPORT", 0.0)
    assert list(progress.with_progress("abc", 3, "frame")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "wildhands: frame 1 of 3\n"
