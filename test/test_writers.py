"""Every kind of output: on a full disk, killed in the middle of a write, and written by two processes at once."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wildhands_ros.io.cache_files import cached_output, is_cached
from wildhands_ros.io.images import load_image
from wildhands_ros.io.sources import FolderSource, ImageSource, VideoSource
from wildhands_ros.visualization.overlay_writers import overlay_for

LIMIT = 2000
"""Bytes of a file beyond which the disk is full, or the writer killed; every output below is larger."""
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@dataclass(frozen=True)
class Writer:
    """One kind of output."""

    name: str
    """Name of the output."""
    write: Callable[[Path], Any]
    read: Callable[[Path], Any]
    """Reads the output, and raises an error if it is incomplete."""
    needs: str = "numpy"
    """The module without which it cannot be written."""
    reason: str = "File too large"
    """What is said if there is no space."""


def write_overlay(kind: str, path: Path) -> None:
    source = object.__new__({"image": ImageSource, "folder": FolderSource, "video": VideoSource}[kind])
    source.path = Path("input")
    if isinstance(source, VideoSource):
        source.fps = 25.0
    with overlay_for(source, path.parent if kind == "folder" else path) as overlay:
        for _ in range(20 if kind == "video" else 1):
            overlay.write(NOISE, path.name)


def write_results(path: Path) -> None:
    from wildhands_ros.cli.results import Results
    from wildhands_ros.io.files import OutputFile

    with OutputFile(path) as partial_file:
        Results().write(partial_file, ["a problem"] * 1000)


def write_table(kind: str, path: Path) -> None:
    from wildhands_ros.recording import table_export
    from wildhands_ros.recording.demonstrations import Demonstration, Sample
    from wildhands_ros.recording.features import STATE_NAMES

    rng = np.random.default_rng(0)
    image, no_hands = partial(np.zeros, (8, 8, 3), np.uint8), SimpleNamespace(hands=[])
    samples = [Sample(stamp, rng.random(len(STATE_NAMES)), rng.random(2), image, no_hands, None) for stamp in range(20)]
    getattr(table_export, f"export_{kind}")([Demonstration("cups", 30, ("a", "b"), samples)], path)


def read_parquet(path: Path) -> None:
    from pyarrow import parquet

    assert len(parquet.read_table(path)) == 20


def read_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path) as file:
        assert len(file["data/demo_0/state"]) == 20


def write_segment(path: Path) -> None:
    from wildhands_ros.recording.segments import Segment, save

    save(path, Segment([], ["a problem"] * 500))


def read_segment(path: Path) -> None:
    from wildhands_ros.recording.segments import load_problems

    assert len(load_problems(path)) == 500


def write_jpegs(path: Path) -> None:
    from wildhands_ros.recording.jpegs import save_jpegs

    save_jpegs(path, [bytes(1000)] * 10)


def read_jpegs(path: Path) -> None:
    from wildhands_ros.recording.jpegs import load_jpegs

    assert len(list(load_jpegs(path))) == 10


def write_checkpoint(path: Path) -> None:
    import torch

    from wildhands_ros.training.checkpointing import Checkpoints

    Checkpoints(path.parent).save(7, {"weights": torch.rand(1000)})


def read_checkpoint(path: Path) -> None:
    from wildhands_ros.training.checkpointing import Checkpoints

    found = Checkpoints(path.parent).load_last(pytest.fail)
    assert found is not None and found[0] == 7


def write_network(path: Path) -> None:
    import torch

    from wildhands_ros.network.checkpoint import save_tensors

    save_tensors(path, {"weights": torch.rand(1000)}, {})


def read_network(path: Path) -> None:
    from safetensors.numpy import load_file

    assert load_file(path)["weights"].shape == (1000,)


def write_cache(path: Path) -> None:
    with cached_output(path) as partial_file:
        np.savez(partial_file, a=np.random.default_rng().random(1000))


def read_cache(path: Path) -> None:
    assert is_cached(path)


def read_image(path: Path) -> None:
    assert load_image(path).shape == NOISE.shape


def read_video(path: Path) -> None:
    source = VideoSource(path)
    assert len(list(source)) == 20 and not source.problems


WRITERS = {
    "results": Writer("out.json", write_results, lambda path: path.read_text().index('"problems"')),
    "overlay of an image": Writer("out.png", partial(write_overlay, "image"), read_image),
    "overlay of a folder": Writer("out.jpg", partial(write_overlay, "folder"), read_image),
    "overlay of a video": Writer("out.mp4", partial(write_overlay, "video"), read_video, reason="disk may be full"),
    "parquet": Writer("out.parquet", partial(write_table, "parquet"), read_parquet, "pyarrow"),
    "hdf5": Writer("out.hdf5", partial(write_table, "hdf5"), read_hdf5, "h5py"),
    "segment": Writer("000001.npz", write_segment, read_segment),
    "jpegs": Writer("out.npz", write_jpegs, read_jpegs),
    "checkpoint": Writer("step_00000007.pt", write_checkpoint, read_checkpoint, "torch"),
    "network": Writer("out.safetensors", write_network, read_network, "torch"),
    "cache": Writer("out.npz", write_cache, read_cache),
}


@pytest.fixture(params=WRITERS)
def writer(request) -> Writer:
    writer = WRITERS[request.param]
    pytest.importorskip(writer.needs)
    return writer


@pytest.fixture
def output(writer, tmp_path) -> Path:
    """An output of an earlier run."""
    folder = tmp_path / "folder"
    folder.mkdir()
    writer.write(folder / writer.name)
    writer.read(folder / writer.name)
    return folder / writer.name


def in_child(function: Callable[[], Any]) -> multiprocessing.process.BaseProcess:
    """Starts a function in a process of its own."""
    child = multiprocessing.get_context("fork").Process(target=function)
    child.start()
    return child


def limit_files(action: Any) -> None:
    """Refuses to write beyond ``LIMIT`` in this process.

    Args:
        action: of SIGXFSZ: SIG_IGN makes the write fail as on a full disk, SIG_DFL kills the process in it.
    """
    signal.signal(signal.SIGXFSZ, action)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def test_a_full_disk_is_reported_and_the_earlier_output_stays(writer, output, tmp_path):
    earlier, log = output.read_bytes(), tmp_path / "log"

    def write():
        limit_files(signal.SIG_IGN)
        try:
            writer.write(output)
        except OSError as error:
            log.write_text(f"{error}")

    child = in_child(write)
    child.join(60)
    assert child.exitcode == 0 and log.is_file(), "the error was overlooked"
    assert output.name in log.read_text() and writer.reason in log.read_text()
    assert output.read_bytes() == earlier
    assert not [path for path in output.parent.iterdir() if path.name != output.name and path.suffix != ".sha256"]


def test_a_writer_that_is_killed_leaves_the_earlier_output(writer, output):
    earlier = output.read_bytes()

    def write():
        limit_files(signal.SIG_DFL)
        writer.write(output)

    child = in_child(write)
    child.join(60)
    assert child.exitcode == -signal.SIGXFSZ
    assert output.read_bytes() == earlier
    writer.read(output)
    writer.write(output)
    writer.read(output)


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "checkpoint"], indirect=True)
def test_of_two_writers_of_one_output_one_wins(writer, output):
    end = time.monotonic() + 0.5

    def write():
        while time.monotonic() < end:
            writer.write(output)

    children = [in_child(write) for _ in range(2)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    writer.read(output)


def test_two_training_runs_in_one_folder(tmp_path):
    pytest.importorskip("torch")
    from wildhands_ros.training.runs import only_run_in

    with only_run_in(tmp_path), pytest.raises(OSError, match="another training run is active"), only_run_in(tmp_path):
        pytest.fail("both write checkpoints")
    with only_run_in(tmp_path):
        pass
