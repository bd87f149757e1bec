"""Shells in which another middleware is selected, or the ROS of another Python is sourced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wildhands_ros.cli.exit_codes import EXIT_USER_ERROR
from wildhands_ros.cli.ros_environment import prepare_middleware

ROOT = Path(__file__).parent.parent


def wildhands(*arguments: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    folders = [str(ROOT), *([str(path)] if path else [])]
    return subprocess.run(
        [sys.executable, "-m", "wildhands_ros.cli.main", *arguments],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_command_that_needs_no_middleware_ignores_it(monkeypatch):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_from_elsewhere_cpp")
    prepare_middleware(is_needed=False)
    assert "RMW_IMPLEMENTATION" not in os.environ


@pytest.mark.ros
def test_a_command_that_needs_a_missing_middleware_says_what_to_do():
    pytest.importorskip("ament_index_python")
    result = wildhands("demo", RMW_IMPLEMENTATION="rmw_from_elsewhere_cpp")
    assert result.returncode == EXIT_USER_ERROR and "Traceback" not in result.stderr
    assert "rmw_from_elsewhere_cpp" in result.stderr and "unset RMW_IMPLEMENTATION" in result.stderr


@pytest.mark.ros
def test_the_installed_middleware_may_be_named(monkeypatch):
    resources = pytest.importorskip("ament_index_python.resources")
    name = next(name for name in resources.get_resources("rmw_typesupport") if name != "rmw_implementation")
    monkeypatch.setenv("RMW_IMPLEMENTATION", name)
    prepare_middleware(is_needed=True)


def test_the_ros_of_another_python_is_named(tmp_path):
    package = tmp_path / "rclpy"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ImportError(\"No module named 'rclpy._other_pybind11'\\nThe C extension isn't present\")\n"
    )
    result = wildhands("episode", "stop", path=tmp_path)
    assert result.returncode == EXIT_USER_ERROR and "Traceback" not in result.stderr
    assert str(package) in result.stderr and "PYTHONPATH" in result.stderr
    assert wildhands("estimate", "--help", path=tmp_path).returncode == 0
