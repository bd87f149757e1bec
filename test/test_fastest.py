"""The fastest runtime is measured at the first start and kept in the cache."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("onnxruntime")

from wildhands_ros.network.network_file import DEFAULT_NAME, open_network
from wildhands_ros.runtime import fastest as module
from wildhands_ros.runtime.fastest import fastest
from wildhands_ros.runtime.memory import release_unused_memory
from wildhands_ros.runtime.network import choose
from wildhands_ros.runtime.processes import END_WITH_PARENT


@pytest.fixture
def file():
    return open_network(DEFAULT_NAME)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "wildhands/runtime"


def test_runtimes_are_measured_once(file, cache, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        first = fastest(file, ["onnxruntime", "tensorrt"])
    assert first is not None and (first.runtime, first.precision) == ("onnxruntime", "float32") and first.ms > 0
    assert "tensorrt" in caplog.text, "a runtime that fails is left out"
    with monkeypatch.context() as patch:
        patch.setattr(module.subprocess, "run", None)  # nothing is measured again
        assert fastest(file, ["onnxruntime", "tensorrt"]) == first
    (kept,) = cache.glob("*.json")
    assert [runtime for runtime, *_ in json.loads(kept.read_text())] == ["onnxruntime"]


def test_a_measurement_ends_with_the_process_that_waits_for_it(file, cache, monkeypatch):
    commands = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(stdout='["float32", 1.0]')

    monkeypatch.setattr(module.subprocess, "run", run)
    assert fastest(file, ["onnxruntime"]).ms == 1.0
    assert commands[0][: len(END_WITH_PARENT)] == END_WITH_PARENT


def test_the_fastest_one_is_chosen_and_damaged_files_are_replaced(file, cache, monkeypatch):
    times = {"openvino": 30.0, "onnxruntime": 20.0}
    monkeypatch.setattr(
        module, "_measured", lambda path, name, precision: module.Measured(name, "float32", times[name])
    )
    assert fastest(file, list(times)).runtime == "onnxruntime"
    times["onnxruntime"] = 40.0
    assert fastest(file, list(times)).runtime == "onnxruntime", "it is kept"
    for damage in ("", "[]", "[[1]]", '{"a": 1}', "[3]"):
        (kept,) = cache.glob("*.json")
        kept.write_text(damage)
        assert fastest(file, list(times)).runtime == "openvino"


def test_without_a_cache_nothing_is_measured_at_each_start(file, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr(module.subprocess, "run", None)
    assert fastest(file, ["onnxruntime"]) is None
    runtime, precision, device = choose(file)
    assert (runtime, device) in [("openvino", "cpu"), ("onnxruntime", "cpu")] and precision != "auto"


def test_freed_memory_is_returned():
    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    blocks = [bytes(100_000) for _ in range(1000)]  # too small for pages of their own
    blocks.append(bytes(1000))
    full = resident_mb()
    del blocks[:-1]
    release_unused_memory()
    assert resident_mb() < full - 50
