"""What `pip install` brings: the source distribution builds a wheel, which works without the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "wildhands_ros"
THREE_LINES = """
from wildhands_ros import Camera, Estimator, load_image

image = load_image({image!r})
frame = Estimator()(image, Camera.for_image(image, fov_degrees=70))
print([hand.side.value for hand in frame.hands])

import sys, wildhands_ros
assert wildhands_ros.__file__.startswith({folder!r}), wildhands_ros.__file__
assert "torch" not in sys.modules
"""


def _build(kind: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory) -> Path:
    """Built from a copy of the sources, because setuptools writes beside them."""
    sources = tmp_path_factory.mktemp("sources")
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "native", sources / "native")
    shutil.copytree(ROOT / PACKAGE, sources / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    return _build("sdist", sources, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(source_distribution, tmp_path_factory) -> Path:
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(source_distribution) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return _build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow
def test_the_wheel_contains_every_file_of_the_package(wheel):
    files = (file.relative_to(ROOT) for file in (ROOT / PACKAGE).rglob("*") if file.is_file() and file.suffix != ".so")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert not [str(file) for file in files if "__pycache__" not in file.parts and str(file) not in names]


@pytest.mark.slow
def test_the_wheel_contains_the_compiled_module(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.startswith("wildhands_ros/_native.") and name.endswith(".so") for name in archive.namelist())


@pytest.mark.slow
def test_the_wheel_finds_hands_without_the_repository(wheel, tmp_path):
    folder = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    image = ROOT / "test/data/images/letter_b.jpg"
    script = THREE_LINES.format(image=str(image), folder=str(folder))
    environment = {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "['right']"
