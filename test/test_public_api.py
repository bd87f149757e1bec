"""The public API of ``import wildhands_ros``: imported lazily, typed, and documented with examples that run."""

from __future__ import annotations

import ast
import doctest
import inspect
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import wildhands_ros
from wildhands_ros.io.images import encode_image
from wildhands_ros.io.sources import open_source

ROOT = Path(__file__).parent.parent
CONSTANTS = {"MEDIAPIPE_BONES", "MEDIAPIPE_JOINT_NAMES"}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with the files that the examples name: photo.jpg, video.mp4 and camera.yaml, all from the demo clip."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copy(ROOT / "demo/clip.mp4", folder / "video.mp4")
    shutil.copy(ROOT / "demo/camera_info.yaml", folder / "camera.yaml")
    frame = next(iter(open_source(str(folder / "video.mp4"))))
    (folder / "photo.jpg").write_bytes(encode_image(frame.image, ".jpg"))
    return folder


def test_import_loads_neither_torch_nor_ros_nor_opencv():
    code = "import sys, wildhands_ros; print(*{'torch', 'rclpy', 'cv2', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_type_checkers_see_the_names_that_can_be_imported():
    tree = ast.parse(Path(wildhands_ros.__file__).read_text())
    (typing_block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in typing_block.body for alias in node.names}
    assert sorted(wildhands_ros.__all__) == sorted(seen)
    for name in set(seen) - CONSTANTS:
        assert getattr(wildhands_ros, name).__module__ == f"wildhands_ros.{seen[name]}"
    assert set(wildhands_ros.__all__) <= set(dir(wildhands_ros))


def test_unknown_names_raise_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Wrist'"):
        wildhands_ros.Wrist  # noqa: B018 - the access itself is tested


def test_types_are_shipped():
    assert (ROOT / "wildhands_ros/py.typed").is_file()
    assert '"py.typed"' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize("name", sorted(set(wildhands_ros.__all__) - CONSTANTS))
def test_examples_in_docstrings_run(name, files, monkeypatch):
    monkeypatch.chdir(files)
    item = getattr(wildhands_ros, name)
    documented = [item]
    if inspect.isclass(item):
        documented += [
            getattr(member, "__func__", member)
            for member in vars(item).values()
            if isinstance(member, types.FunctionType | classmethod | staticmethod)
        ]
    tests = [
        test
        for owner in documented
        if owner.__doc__
        for test in [doctest.DocTestParser().get_doctest(owner.__doc__, {}, f"{name}", None, None)]
        if test.examples
    ]
    assert tests, f"the docstring of {name} has no example"
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0
