"""The structure of the package: direction of imports, use of private names, and external dependencies."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wildhands_ros"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}

LAYERS = (
    ("versions", "types", "config", "geometry", "io"),
    ("hand_model",),
    ("network",),
    ("runtime",),
    ("detection", "tracking", "fitting", "smoothing"),
    ("estimator",),
    ("datasets", "synthetic"),
    ("training",),
    ("evaluation", "benchmark", "recording"),
    ("teleop", "visualization"),
    ("ros",),
    ("cli",),
)
"""Layers, lowest first. Packages import from their own layer and from lower ones, and never in a circle."""
ROS_PACKAGES = ("ros", "cli")
"""Only these may import ROS; the command line does so inside the commands that need it."""
ROS_MODULES = {
    "rclpy",
    "cv_bridge",
    "tf2_ros",
    "message_filters",
    "rcl_interfaces",
    "lifecycle_msgs",
    "std_msgs",
    "std_srvs",
}
ROS_MODULES |= {
    "sensor_msgs",
    "geometry_msgs",
    "visualization_msgs",
    "diagnostic_msgs",
    "vision_msgs",
    "bond",
    "builtin_interfaces",
}
MOST_TRAINING_LINES = 5000
PUBLIC = ("_asdict", "_replace", "_fields", "_exit", "_SubParsersAction")
"""Names of the standard library that begin with an underscore and have no public counterpart."""


def name_of(file: Path) -> list[str]:
    """Returns a module's path as a list of names, starting with the package."""
    return list(file.relative_to(ROOT).with_suffix("").parts)


def imports(file: Path) -> Iterator[tuple[list[str], int]]:
    """Yields every import in a file as a list of names, with its line."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split("."), node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = name_of(file)[: -node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield [*base, alias.name], node.lineno


def part_imports() -> Iterator[tuple[str, str, str]]:
    """Yields (part, imported part, place) of every import between two of the package's direct members."""
    for file in FILES:
        part = name_of(file)[1]
        for target, line in imports(file):
            # ``msg`` and ``srv`` are generated from the message definitions, ``_native`` is compiled.
            if target[0] == PACKAGE.name and target[1] not in (part, "__version__", "_native", "msg", "srv"):
                yield part, target[1], f"{file.relative_to(ROOT)}:{line}"


def test_every_part_has_a_layer():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__"} == {name for layer in LAYERS for name in layer}


def test_no_part_imports_from_a_higher_layer():
    """The package's ``__init__`` is the public API: it lies above everything, and nothing imports from it."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer} | {"__init__": len(LAYERS)}
    upward = [
        f"{place}: {part} imports {target}" for part, target, place in part_imports() if level[target] > level[part]
    ]
    assert not upward, "\n".join(upward)


def test_no_parts_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for part, target, _ in part_imports():
        graph.setdefault(part, set()).add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_files_import_each_other_in_a_circle():
    """Imports inside functions count, too."""
    by_name = {tuple(name_of(file)): file for file in FILES}
    graph = {}
    for file in FILES:
        # The last name is a module's, or that of something in one.
        found = (by_name.get(tuple(target), by_name.get(tuple(target[:-1]))) for target, _ in imports(file))
        graph[file] = {module for module in found if module not in (None, file)}
    assert sum(map(len, graph.values())) > 1000
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def private_names(tree: ast.AST) -> set[str]:
    """Returns the names that a file defines itself: on ``self`` or ``cls``, in class bodies, and at module level."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def reach_ins(file: Path, tree: ast.AST) -> list[str]:
    """Returns the uses of private names of other modules or of their objects."""
    own, found = private_names(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        ):
            names = [node.attr] if node.attr not in own else []
        else:
            continue
        private = [name for name in names if name.startswith("_") and not name.startswith("__") and name not in PUBLIC]
        found += [f"{file.relative_to(ROOT)}:{node.lineno}: {name}" for name in private]
    return found


@pytest.mark.parametrize("folder", ["wildhands_ros", "tools", "examples"])
def test_private_names_of_other_objects_are_not_used(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    found = [line for file in files for line in reach_ins(file, ast.parse(file.read_text(encoding="utf-8")))]
    assert not found, "\n".join(found)


def test_private_use_is_recognised(tmp_path):
    def found(text: str) -> int:
        return len(reach_ins(ROOT / "example.py", ast.parse(text)))

    assert found("from .pool import _order") == found("pool._make()") == found("self.pool._paths") == 1
    assert found("from .pool import order") == found("self._paths") == found("type(x).__name__") == 0
    assert found("class A:\n  def f(self, other):\n    self._x = other._x") == 0, "of the same class"


def test_package_code_does_not_refer_to_files_outside_the_package():
    """An installed package has neither the repository's tests nor the folder beside it."""
    found = []
    for file in FILES:
        for node in ast.walk(TREES[file]):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and ("test/data" in text or "../shared" in text):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not found, "\n".join(found)


def test_only_the_ros_parts_import_ros():
    found = [
        f"{file.relative_to(ROOT)}:{line}: {target[0]}"
        for file in FILES
        if name_of(file)[1] not in ROS_PACKAGES
        for target, line in imports(file)
        if target[0] in ROS_MODULES
    ]
    assert not found, "\n".join(found)


def test_training_code_stays_small():
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (PACKAGE / "training").rglob("*.py")}
    assert sum(lines.values()) < MOST_TRAINING_LINES


def test_importing_the_package_imports_neither_torch_nor_ros():
    heavy = ("torch", "openvino", "scipy", "cv2", *ROS_MODULES)
    code = f"import sys, wildhands_ros; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "module",
    [
        "network.config",
        "network.preprocessing",
        "network.network_file",
        "hand_model.posing",
        "fitting.stream_fit",
        "smoothing.hands",
        "tracking.tracks",
        "detection.finder",
        "runtime.predictor",
        "runtime.openvino",
        "estimator",
    ],
)
def test_inference_imports_no_torch(module):
    code = f"import sys, {PACKAGE.name}.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_image_to_hands_imports_no_torch():
    """From the public API, with the default options, on a machine without a GPU."""
    code = (
        "import sys; from wildhands_ros import Camera, Estimator, load_image, open_source;"
        "image = next(iter(open_source('demo/clip.mp4'))).image;"
        "frame = Estimator()(image, Camera.for_image(image, fov_degrees=70));"
        "print(len(frame.hands), 'torch' in sys.modules)"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    hands, has_torch = done.stdout.split()
    assert int(hands) > 0
    if not Path("/dev/nvidiactl").exists():
        assert has_torch == "False"


def test_openvino_has_one_core_whose_signal_stack_stays():
    """Cores that are destroyed in the order of creation leave a freed stack to the handlers of the next signal."""
    others = [
        path
        for folder in ("wildhands_ros", "test", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in ("openvino_core.py", Path(__file__).name)
        and re.search(r"openvino\.(Core|compile_model)\(", path.read_text())
    ]
    assert not others
    code = (
        "import os, signal\n"
        "from wildhands_ros.network.network_file import DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR\n"
        "from wildhands_ros.runtime.openvino_detector import OpenVinoDetector\n"
        "import numpy as np\n"
        "detectors = [OpenVinoDetector(path) for path in (DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR)]\n"
        "for detector in detectors: detector(np.zeros((64, 64, 3), np.uint8))\n"
        "del detectors[0], detector\n"
        "del detectors\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "handled\n"), result.stderr


def test_openvino_reports_nothing_over_the_network():
    """It would fork a process from a thread as soon as it is imported."""
    code = (
        "import multiprocessing, sys, threading, wildhands_ros.runtime.openvino\n"
        "print(sys.modules['openvino_telemetry'], [thread.name for thread in threading.enumerate()])\n"
        "print(multiprocessing.active_children())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split("\n")[:2] == ["None ['MainThread']", "[]"]
