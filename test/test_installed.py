"""What an installation contains: the package, its messages, the compiled code, shared files and programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

import wildhands_ros

pytestmark = pytest.mark.smoke


@pytest.fixture
def prefix() -> Path:
    """The prefix of the workspace in which colcon test runs this test."""
    prefixes = map(Path, filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)))
    installed = [prefix for prefix in prefixes if (prefix / ".colcon_install_layout").is_file()]
    if not installed:
        pytest.skip("runs with colcon test only (make test-colcon)")
    return installed[0]


def test_the_installed_package_is_imported(prefix):
    assert prefix in Path(wildhands_ros.__file__).parents
    from wildhands_ros import _native

    assert prefix in Path(_native.__file__).parents
    from wildhands_ros.msg import HandArray

    assert sys.modules[HandArray.__module__].__file__.startswith(str(prefix))
    HandArray.__class__.__import_type_support__()
    assert HandArray.__class__._TYPE_SUPPORT is not None


def test_shared_files_and_programs_are_installed(prefix):
    share, programs = prefix / "share" / "wildhands_ros", prefix / "lib" / "wildhands_ros"
    for name in ("config/wildhands.yaml", "launch/wildhands.launch.py", "msg/Hand.msg", "package.xml"):
        assert (share / name).is_file(), name
    names = {
        "wildhands",
        "wildhands_cameras",
        "wildhands_episodes",
        "wildhands_fusion",
        "wildhands_node",
        "wildhands_rviz",
        "wildhands_teleop",
    }
    assert {program.name for program in programs.iterdir()} == names
    run = subprocess.run([programs / "wildhands", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "estimate" in run.stdout, run.stderr
