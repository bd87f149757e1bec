"""Finds the fastest runtime of an ONNX network on this machine: measured at the first start, then kept in the cache.

No runtime is fastest everywhere: without bfloat16, ONNX Runtime is on some processors; with it, OpenVINO is.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import versions
from ..config import AUTO
from ..geometry.camera import Camera
from ..io.cache_key import cache_key
from ..io.paths import cache_folder
from ..network.config import IMAGE_SIZE
from ..network.network_file import NetworkFile, open_network
from ..network.preprocessing import preprocess
from .signature import RIGHT
from .threads import available_cpus

_HANDS = 2
_WARM_UP, _REPEATS = 3, 10
_TIMEOUT = 60.0
"""Seconds for the measurement of one runtime, which includes compiling the network."""
_logger = logging.getLogger(__name__)


class Measured(NamedTuple):
    """A runtime that was measured."""

    runtime: str
    precision: str
    ms: float
    """Milliseconds for the two hands of a frame."""


def fastest(file: NetworkFile, runtimes: Sequence[str], precision: str = AUTO) -> Measured | None:
    """Returns the fastest runtime of a network.

    The first time, each one is measured in a process of its own, so that one that crashes here is merely left out.

    Args:
        file: an ONNX file.
        runtimes: those that are installed.
        precision: one of ``PRECISIONS``; auto is each runtime's own choice.

    Returns:
        The fastest one; None if none was measured because the result cannot be kept, or because all failed.
    """
    path = cache_folder() / "runtime" / f"{_key(file, runtimes, precision)}.json"
    try:
        runtime, kept_precision, ms = json.loads(path.read_text())[0]
        return Measured(str(runtime), str(kept_precision), float(ms))
    except (OSError, ValueError, TypeError, LookupError):
        pass  # not measured yet, or damaged
    if not _can_write(path):
        return None
    found = [one for runtime in runtimes if (one := _measured(file.path, runtime, precision)) is not None]
    if not found:
        return None
    found.sort(key=lambda one: one.ms)
    _logger.info("the network runs on %s (milliseconds for two hands: %s)", found[0].runtime, found)
    _keep(path, found)
    return found[0]


def _key(file: NetworkFile, runtimes: Sequence[str], precision: str) -> str:
    processor = [line for line in _cpuinfo() if line.startswith(("model name", "flags", "Features", "CPU part"))]
    return cache_key(
        [
            versions.GRAPH,
            file.digest,
            precision,
            {runtime: _version(runtime) for runtime in runtimes},
            sorted(set(processor)),
            available_cpus(),
        ]
    )


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _can_write(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path.parent, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def _keep(path: Path, found: Sequence[Measured]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(json.dumps(found))
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink()


def _measured(path: Path, runtime: str, precision: str) -> Measured | None:
    command = [sys.executable, "-m", __name__, str(path), runtime, precision]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
        chosen, ms = json.loads(run.stdout.splitlines()[-1])
        return Measured(runtime, str(chosen), float(ms))
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().splitlines()[-1:] or [f"it ended with {error.returncode}"]
        _logger.warning("the runtime %s cannot run the network here: %s", runtime, reason[0])
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError, IndexError) as error:
        _logger.warning("the runtime %s could not be measured: %s", runtime, error)
    return None


def _measure(path: Path, runtime: str, precision: str) -> tuple[str, float]:
    """Returns the precision and the milliseconds of one runtime."""
    from .network import choose, run_network

    file = open_network(path)
    if file.mean_pose is None:
        raise ValueError(f"{path} is not an ONNX file")
    runtime, precision, device = choose(file, runtime, precision, "cpu")
    network = run_network(file, file.mean_pose, runtime, precision, device)
    side = 2 * IMAGE_SIZE
    inputs = preprocess(
        np.zeros((side, side, 3), np.uint8),
        Camera.guess(side, side),
        np.tile([[0.0, 0.0, side, side]], (_HANDS, 1)),
        file.config,
        file.config.preprocessing,
        np.zeros(_HANDS) if file.config.upright else None,
    )
    seconds = []
    for _ in range(_WARM_UP + _REPEATS):
        start = time.perf_counter()
        network(inputs, np.full(_HANDS, RIGHT))
        seconds.append(time.perf_counter() - start)
    return precision, 1e3 * min(seconds[_WARM_UP:])


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
