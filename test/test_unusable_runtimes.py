"""Damaged network files, and runtimes that do not load here."""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from weakref import WeakValueDictionary

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from wildhands_ros.network.network_file import DEFAULT_DETECTOR, DEFAULT_NETWORK, CheckpointError, open_network
from wildhands_ros.runtime.detector import run_detector
from wildhands_ros.runtime.network import run_network

RUNTIMES = ("openvino", "onnxruntime")
IMAGE = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Estimators of other tests may still use the same networks.
    monkeypatch.setattr("wildhands_ros.runtime.shared._in_use", WeakValueDictionary())


@pytest.mark.parametrize("keep", [0, 10_000, 0.5, -10])
def test_an_incomplete_network_is_named(keep, tmp_path):
    content = DEFAULT_NETWORK.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=r"cut\.onnx.*ONNX file"):
        open_network(path)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_with_a_damaged_graph_is_named(runtime, tmp_path):
    path = tmp_path / "damaged.onnx"
    path.write_bytes(DEFAULT_NETWORK.read_bytes().replace(b"crops", b"drops", 1))
    file = open_network(path)
    with pytest.raises(ValueError, match=r"damaged\.onnx: the file may be damaged, install or export it again"):
        run_network(file, file.mean_pose, runtime)


def _break(monkeypatch, *runtimes: str) -> None:
    """Makes the import of runtimes fail, as on a system on which their library cannot be loaded."""
    for runtime in runtimes:
        for name in [name for name in sys.modules if name.startswith(f"wildhands_ros.runtime.{runtime}")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, runtime, None)
    spec = importlib.machinery.ModuleSpec
    monkeypatch.setattr("wildhands_ros.runtime.network.find_spec", lambda name: spec(name, None))
    monkeypatch.setattr("wildhands_ros.runtime.network.fastest", lambda *_: None)  # as without a cache


def test_the_next_best_runtime_replaces_one_that_does_not_load(monkeypatch, caplog):
    _break(monkeypatch, "onnxruntime")
    file = open_network("default")
    with caplog.at_level(logging.WARNING):
        assert "OpenVINO" in run_network(file, file.mean_pose, device="cpu").name
    with pytest.raises(ValueError, match="onnxruntime is installed, but cannot be used here"):
        run_network(file, file.mean_pose, "onnxruntime")


def test_the_detector_falls_back_to_onnx_runtime(monkeypatch):
    expected = run_detector(DEFAULT_DETECTOR)(IMAGE)
    _break(monkeypatch, "openvino")
    detector = run_detector(DEFAULT_DETECTOR)
    assert type(detector).__name__ == "OnnxRuntimeDetector"
    for value, other in zip(detector(IMAGE), expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=0.05, atol=0.05)


def test_onnx_runtime_reports_nothing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    code = "import wildhands_ros.runtime.onnxruntime, os; print(len(os.environ['ORT_DISABLE_TELEMETRY']))"
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.stdout.strip() == "1", run.stderr
    assert not list(tmp_path.iterdir())  # its identifier of the machine and a database of reports
