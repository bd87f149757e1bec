"""The set-up of .venv (tools/setup_env.py)."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

ROOT = Path(__file__).resolve().parent.parent


def test_the_bytecode_of_the_node_is_kept_even_where_python_writes_none(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import setup_env

    monkeypatch.setattr(setup_env, "PYTHON", Path(sys.executable))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    setup_env.compile_modules()
    kept = {path.name.split(".")[0] for path in tmp_path.rglob("*.pyc")}
    assert {"node", "estimator", "onnxruntime", "openvino_detector", "generate_py_impl"} <= kept
