"""Run the tests with the package versions that a ROS distribution ships, on a machine without it.

    python tools/distro_env.py humble

Makes .venv-distros/NAME from wheels of those versions, builds the package in it with colcon as a user does, and runs
the tests that need nothing else with colcon test. Where a version has no wheel for this Python, the next newer one is
taken. The ROS packages are the wheels of Jazzy or Kilted: PyPI has no others. With --quick, only the library is tested:
no ROS package is installed and nothing is built. Uses the standard library only, like setup_env.py.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import setup_env
from colcon_workspace import build_workspace, colcon

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "demo.in"
TEST_REQUIREMENTS = ("colcon-common-extensions", "hypothesis", "mcap", "pytest", "pytest-xdist")
QUICK = (
    "bags",
    "calibration_files",
    "estimator",
    "geometry",
    "hostile_files",
    "joints",
    "mano_files",
    "multiview_fit",
    "pose",
    "public_api",
    "safe_pickle",
    "smoothing",
    "sources",
    "teleop",
    "trajectories",
)
"""Tests that take a minute and touch what differs between the versions: numpy, OpenCV, SciPy."""
NOT_INSTALLED = re.compile(r"^\s*(?:import|from) (?:torch|mediapipe|nncf|numba|onnx|smplx|tensorboard)\b", re.MULTILINE)
"""What test files import that only the environment of `make test` has."""


@dataclass(frozen=True)
class Distribution:
    """The versions that a distribution ships; of all other packages the newest are taken."""

    versions: dict[str, str]
    ros: str = "jazzy"
    """The distribution of the ROS wheels."""

    def pinned(self) -> list[str]:
        return [f"{name}>={version}" for name, version in self.versions.items()]

    def other(self, is_quick: bool) -> list[str]:
        """Return the requirements of the demo and the tests without the packages of ``versions``."""
        lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
        names = {line: re.split(r"[\[<=>~]", line)[0] for line in lines if line}
        left_out = {*self.versions, *(f"ros-jazzy-{name}" for name in MISSING_WHEELS[self.ros])}
        kept = [line.replace("ros-jazzy-", f"ros-{self.ros}-") for line, name in names.items() if name not in left_out]
        if is_quick:
            kept = [line for line in kept if "ros-" not in line and line != "cv-bridge"]
        return [*kept, *TEST_REQUIREMENTS]


MISSING_WHEELS = {"jazzy": (), "kilted": ("domain-coordinator", "python-cmake-module")}
"""ROS packages of the demo that a distribution does not have under this name; others depend on their successors."""
UBUNTU_22_04 = {
    "matplotlib": "3.5.1",
    "numpy": "1.21.5",
    "opencv-python-headless": "4.5.4",
    "pyyaml": "5.4.1",
    "scipy": "1.8.0",
    "tqdm": "4.57.0",
}
UBUNTU_24_04 = {
    "matplotlib": "3.6.3",
    "numpy": "1.26.4",
    "opencv-python-headless": "4.6.0",
    "pyyaml": "6.0.1",
    "scipy": "1.11.4",
    "tqdm": "4.66.2",
}
DISTRIBUTIONS = {
    "humble": Distribution(UBUNTU_22_04),
    "jazzy": Distribution(UBUNTU_24_04),
    "kilted": Distribution(UBUNTU_24_04, ros="kilted"),
    "newest": Distribution({}),
}


def install(distribution: Distribution, is_quick: bool) -> None:
    """Install the packages; a lower bound becomes the lowest version of which there is a wheel for this Python."""
    python = setup_env.PYTHON
    uv = next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("uv=="))
    pinned, other = distribution.pinned(), distribution.other(is_quick)
    with setup_env.Step("packages", "Installing the packages", "\n".join([*pinned, *other])) as step:
        if not step.needed:
            return
        setup_env.run(python, "-m", "pip", "install", "--quiet", uv, failure="pip could not install uv.")
        command = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        failed = "The packages could not be installed: see above."
        constraints = setup_env.VENV / "constraints.txt"
        constraints.write_text("")
        if pinned:
            lowest = ("--resolution", "lowest-direct", "--only-binary", ":all:")
            setup_env.run(*command, *lowest, *pinned, failure=failed)
            listed = subprocess.run(
                [python, "-m", "uv", "pip", "freeze", "--python", python], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            chosen = [line for line in listed if line.partition("==")[0] in distribution.versions]
            constraints.write_text("\n".join(chosen))
        setup_env.run(*command, "--constraint", constraints, *other, failure=failed)
        print("    " + (", ".join(constraints.read_text().splitlines()) or "the newest of everything"), flush=True)


def build() -> None:
    names = (*setup_env.INTERFACES, *setup_env.TEST_INTERFACES)
    interfaces = {name: ROOT / "tools" / "interfaces" / name for name in names}
    inputs = setup_env.digest(
        *(ROOT / name for name in ("CMakeLists.txt", "msg", "package.xml", "srv", "tools/interfaces"))
    )
    with setup_env.Step("colcon", "colcon build", inputs) as step:
        if step.needed:
            setup_env.repair_cmake_targets()
        # Always, since it installs copies of the Python files.
        build_workspace({"wildhands_ros": ROOT, **interfaces})


def run_tests() -> int:
    """Run all tests that the environment suffices for and return whether any failed, as an exit code."""
    files = sorted((ROOT / "test").glob("test_*.py"))
    names = [file.stem for file in files if not NOT_INSTALLED.search(file.read_text())]
    pattern = f"^({'|'.join(names)})$"
    # Only the tests: without them colcon test succeeds, whatever happened.
    options = {"PYTEST_ADDOPTS": "-p no:cacheprovider"}
    colcon(*("test", "--merge-install", "--packages-select", "wildhands_ros", "--ctest-args", "-R", pattern), **options)
    return colcon("test-result", "--verbose")


def run_quick_tests() -> int:
    """Run the tests of the library that differ most between the versions, and return pytest's exit code."""
    files = [ROOT / "test" / f"test_{name}.py" for name in QUICK]
    command = [setup_env.PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not ros", *files]
    command += ["-n", "2", "--dist", "loadfile"]
    return subprocess.run(command, cwd=ROOT, env=setup_env.environment()).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=DISTRIBUTIONS)
    parser.add_argument("--quick", action="store_true", help="only the tests of the library that differ most")
    options = parser.parse_args()
    setup_env.use(ROOT / ".venv-distros" / (f"{options.name}_library" if options.quick else options.name))
    try:
        if not options.quick:
            setup_env.check_machine()
        setup_env.make_venv()
        install(DISTRIBUTIONS[options.name], options.quick)
        if not options.quick:
            build()
    except setup_env.SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    start = time.monotonic()
    code = run_quick_tests() if options.quick else run_tests()
    print(f"==> {setup_env.VENV.name}: tests took {time.monotonic() - start:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
