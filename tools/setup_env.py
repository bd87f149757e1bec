"""Create .venv with what the demo needs or, with the argument ``test``, with what everything needs, without a ROS.

Run by `make`. Uses the standard library only, because it runs before anything is installed. A step is skipped as long
as its inputs are the same as when it last succeeded.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
BUILD = VENV / "build"
STAMPS = VENV / "stamps"
LOCK_FILES = {name: ROOT / "requirements" / f"{name}.lock" for name in ("demo", "test")}
"""Pinned packages. Those of the demo are a part of those of the tests, so that `make test` only adds packages."""
INTERFACES = ("tf2_msgs", "vision_msgs")
"""Message packages that have no wheel; tools/interfaces contains the messages that this package uses."""
TEST_INTERFACES = ("bond",)
"""The same for the tests only."""

ROS_VARIABLES = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
)
"""Variables of a sourced ROS distribution or another virtual environment, which must not leak into this one."""

VENV_INFO = """
import json, sys, sysconfig
info = {name: sysconfig.get_path(name) for name in ("include", "purelib")}
info["version"] = sys.version_info[:2]
try:
    import numpy
    info["numpy"] = numpy.get_include()
except ImportError:
    pass
print(json.dumps(info))
"""


def use(folder: Path) -> None:
    """Make the environment in a folder other than .venv (see distro_env.py)."""
    global VENV, PYTHON, BUILD, STAMPS
    VENV, PYTHON, BUILD, STAMPS = folder, folder / "bin" / "python", folder / "build", folder / "stamps"


class SetupError(Exception):
    """An error that the user has to fix; the message says how."""


def environment() -> dict[str, str]:
    """Return the environment variables for commands that run in .venv."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ROS_VARIABLES and key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
    }
    clean.update(
        PATH=f"{VENV / 'bin'}{os.pathsep}{clean.get('PATH', os.defpath)}",
        VIRTUAL_ENV=str(VENV),
        AMENT_PREFIX_PATH=str(VENV),
        CMAKE_PREFIX_PATH=str(VENV),
        LD_LIBRARY_PATH=str(VENV / "lib"),
    )
    clean.setdefault("UV_HTTP_TIMEOUT", "300")
    return clean


def run(*command: str | Path, failure: str, quiet: bool = False) -> None:
    """Run a command in the environment.

    Args:
        command: The program and its arguments.
        failure: The error message if the command fails.
        quiet: Show the output only if the command fails.

    Raises:
        SetupError: The command failed.
    """
    stdout, stderr = (subprocess.PIPE, subprocess.STDOUT) if quiet else (None, None)
    result = subprocess.run(
        [str(part) for part in command], cwd=ROOT, env=environment(), text=True, stdout=stdout, stderr=stderr
    )
    if result.returncode:
        raise SetupError(f"{result.stdout or ''}\n{failure}".lstrip())


def uv_install(*options: str | Path, failure: str) -> None:
    """Run `uv pip install` for .venv."""
    run(PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON, *options, failure=failure)


def venv_info() -> dict:
    import json

    result = subprocess.run([PYTHON, "-c", VENV_INFO], env=environment(), capture_output=True, text=True)
    if result.returncode:
        raise SetupError(
            f"{VENV} is broken (its Python does not run): delete it and try again.\n{result.stderr.strip()}"
        )
    return json.loads(result.stdout)


def digest(*paths: Path, extra: str = "") -> str:
    """Return a hash of the contents of files and of all files in folders."""
    state = hashlib.sha256(extra.encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                state.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return state.hexdigest()


def read_stamps() -> dict[str, str]:
    """Return the inputs of the steps that have succeeded, by step."""
    return {stamp.name: stamp.read_text() for stamp in STAMPS.glob("*")}


class Step:
    """A step that is needed only if its inputs have changed since it last succeeded.

    Used as ``with Step(...) as step: if step.needed: ...``.
    """

    def __init__(self, name: str, title: str, inputs: str):
        self.stamp, self.title, self.inputs = STAMPS / name, title, inputs
        self.needed = not self.stamp.is_file() or self.stamp.read_text() != inputs

    def __enter__(self) -> Step:
        if self.needed:
            print(f"==> {self.title}", flush=True)
            self.stamp.unlink(missing_ok=True)
        self.start = time.monotonic()
        return self

    def __exit__(self, error_type, *_):
        if self.needed and error_type is None:
            STAMPS.mkdir(exist_ok=True)
            self.stamp.write_text(self.inputs)
            print(f"    done in {time.monotonic() - self.start:.0f} s", flush=True)


def check_machine() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise SetupError(f"Python 3.10, 3.11 or 3.12 is needed, not {version}: make PYTHON=python3.11 ...")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise SetupError(
            "The ROS 2 wheels exist for Linux on x86-64 only. On other platforms, build with colcon in a ROS 2 "
            "distribution (see README.md)."
        )
    missing = []
    if not any(map(shutil.which, ("c++", "g++", "clang++"))) or not any(map(shutil.which, ("cc", "gcc", "clang"))):
        missing.append("g++")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append(f"python{version}-dev")
    try:
        import ensurepip  # noqa: F401 - Debian packages it separately, and venv fails without it
    except ImportError:
        missing.append(f"python{version}-venv")
    if missing:
        raise SetupError(f"To build the ROS 2 messages, this machine needs: sudo apt install {' '.join(missing)}")


def make_venv() -> None:
    if not PYTHON.exists():
        print(f"==> Making {VENV.name} with Python {platform.python_version()}", flush=True)
        # -I: ignore the user's PYTHONPATH and the current folder.
        run(sys.executable, "-I", "-m", "venv", VENV, failure=f"Could not make {VENV}: see above.")


def install_packages(name: str) -> None:
    """Install the packages of a lock file."""
    lock_file = LOCK_FILES[name]
    with Step(f"packages_{name}", f"Installing the pinned packages of {lock_file.name}", digest(lock_file)) as step:
        if not step.needed:
            return
        before = received_bytes()
        if not (VENV / "bin" / "uv").exists():
            uv = next(line.strip() for line in lock_file.read_text().splitlines() if line.startswith("uv=="))
            run(PYTHON, "-m", "pip", "install", "--quiet", uv, failure="pip could not install uv: is there a network?")
        # The lock file is complete, and leaves out dependencies on purpose (requirements/uv.toml).
        uv_install("--no-deps", "-r", lock_file, failure="The packages could not be installed: see above.")
        link_duplicate_libraries()
        downloaded = received_bytes() - before
        print(f"    {downloaded / 1e6:.0f} MB received over the network meanwhile", flush=True)


def link_duplicate_libraries() -> None:
    """Link equal files in .venv/lib: wheels hold no symbolic links, so those of ROS contain libraries three times."""
    files: dict[bytes, Path] = {}
    for file in sorted((VENV / "lib").glob("*.so*")):
        first = files.setdefault(hashlib.sha256(file.read_bytes()).digest(), file)
        if first is not file:
            file.unlink()
            file.hardlink_to(first)


def received_bytes() -> int:
    """Return how many bytes the network interfaces of this machine, except loopback, have received since it started."""
    counters = Path("/sys/class/net").glob("*/statistics/rx_bytes")
    return sum(int(counter.read_text()) for counter in counters if counter.parent.parent.name != "lo")


def disk_usage(folder: Path) -> int:
    """Return the bytes that a folder takes on the disk, without following links; hard links count once."""
    files = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))
            files[status.st_ino] = 512 * status.st_blocks
    return sum(files.values())


def repair_cmake_targets() -> None:
    """Fix the CMake files of the ROS wheels.

    They contain the Python and NumPy folders of the machine that built them, which CMake rejects as non-existent.
    """
    info = venv_info()
    major, minor = info["version"]
    built_in = f"/opt/python/cp{major}{minor}-cp{major}{minor}"
    replacements = {
        f"{built_in}/include/python{major}.{minor}": info["include"],
        f"{built_in}/lib/python{major}.{minor}/site-packages/numpy/_core/include": info["numpy"],
    }
    for file in (VENV / "share").glob("*/cmake/*.cmake"):
        text = file.read_text()
        repaired = text
        for wrong, right in replacements.items():
            repaired = repaired.replace(wrong, right)
        if repaired != text:
            # Replace the file instead of changing it: uv may have hard-linked it to its cache.
            file.unlink()
            file.write_text(repaired)


def build(name: str, source: Path, inputs: str, *options: str) -> None:
    """Build an ament package of messages with CMake and install it into .venv; nothing has to be sourced."""
    with Step(name, f"Building the messages of {name}", inputs) as step:
        if not step.needed:
            return
        repair_cmake_targets()
        folder = BUILD / name
        shutil.rmtree(folder, ignore_errors=True)
        cmake, failed = VENV / "bin" / "cmake", f"The messages of {name} could not be built: see above."
        settings = {
            "CMAKE_BUILD_TYPE": "Release",
            "CMAKE_INSTALL_PREFIX": VENV,
            "Python3_EXECUTABLE": PYTHON,
            "BUILD_TESTING": "OFF",
        }
        definitions = [f"-D{key}={value}" for key, value in settings.items()]
        run(cmake, "-G", "Ninja", "-S", source, "-B", folder, *definitions, *options, failure=failed, quiet=True)
        run(cmake, "--build", folder, failure=failed, quiet=True)
        run(cmake, "--install", folder, failure=failed, quiet=True)
        shutil.rmtree(folder)


def build_interfaces(names: tuple[str, ...]) -> None:
    for name in names:
        source = ROOT / "tools" / "interfaces" / name
        build(name, source, digest(source, LOCK_FILES["demo"]))


def build_messages() -> None:
    packages = digest(LOCK_FILES["demo"])
    # In a separate folder: site-packages/wildhands_ros would hide the editable sources.
    python_folder = "lib/wildhands_ros_messages"
    inputs = digest(ROOT / "msg", ROOT / "srv", ROOT / "CMakeLists.txt", ROOT / "package.xml", extra=packages)
    build("wildhands_ros", ROOT, inputs, "-DMESSAGES_ONLY=ON", f"-DPYTHON_INSTALL_DIR={python_folder}")
    # Python reads this file when it starts, and so finds the messages and the ament index without a sourced setup file.
    index = (
        "import os; os.environ['AMENT_PREFIX_PATH'] = "
        f"os.pathsep.join(filter(None, (os.environ.get('AMENT_PREFIX_PATH'), {str(VENV)!r})))"
    )
    lines = [str(VENV / python_folder), index]
    Path(venv_info()["purelib"], "wildhands_ros_messages.pth").write_text("\n".join(lines) + "\n")


def install_sources() -> None:
    inputs = digest(ROOT / "setup.py", ROOT / "native", extra=str(ROOT))
    with Step("sources", "Installing wildhands_ros (editable)", inputs) as step:
        if step.needed:
            options = ("--quiet", "--no-deps", "--no-build-isolation", "-e", ROOT)
            uv_install(*options, failure="wildhands_ros could not be installed: see above.")


def compile_modules() -> None:
    """Keep the bytecode of all modules that the node imports.

    Neither uv nor a process with PYTHONDONTWRITEBYTECODE, which many containers set, writes it. Each start of the node
    would then compile the modules anew, which takes longer than everything else at the start.
    """
    names = ("ros.node", "estimator", "runtime.onnxruntime", "runtime.openvino_detector")
    # The generator of the messages' Python code is imported with the first publisher.
    modules = ", ".join(("rosidl_generator_py", *(f"wildhands_ros.{name}" for name in names)))
    imports = f"import sys; sys.dont_write_bytecode = False; import {modules}"
    run(PYTHON, "-c", imports, failure="wildhands_ros cannot be imported: see above.")


def main() -> int:
    names = ("demo", "test") if sys.argv[1:] == ["test"] else ("demo",)
    start = time.monotonic()
    try:
        check_machine()
        make_venv()
        with open(VENV / "setup.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # make may run twice at the same time
            before = read_stamps()
            for name in names:
                install_packages(name)
            build_interfaces(INTERFACES + (TEST_INTERFACES if "test" in names else ()))
            build_messages()
            install_sources()
            sources = (ROOT / "wildhands_ros").rglob("*.py")
            inputs = digest(*sorted(sources), extra=digest(LOCK_FILES["demo"]))
            with Step("bytecode", "Compiling the Python modules of the node", inputs) as step:
                if step.needed:
                    compile_modules()
            if read_stamps() != before:
                size = f"{disk_usage(VENV) / 1e6:.0f} MB on the disk"
                print(f"==> {VENV.name} is ready: {size}, {time.monotonic() - start:.0f} s", flush=True)
    except SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
