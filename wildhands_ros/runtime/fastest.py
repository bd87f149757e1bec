"""Finds the fastest runtime of an ONNX network on this machine: measured at the first start, then kept in the cache.

No runtime is fastest everywhere: without bfloat16, ONNX Runtime is on some processors; with it, OpenVINO is.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .. import versions
from ..config import AUTO
from ..io.cache_files import cached_output, open_cached, own_cache_folder
from ..io.cache_key import cache_key
from ..network.network_file import NetworkFile
from .half_decoder import can_decode
from .installation import cpu_fields, installed_version
from .processes import END_WITH_PARENT
from .threads import available_cpus

_MEASUREMENT = f"{__package__}.measurement"
"""The module that measures; it imports this one, so it is not imported here."""
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
    try:
        folder = own_cache_folder("runtime")
    except OSError:
        return None
    path = folder / f"{_key(file, runtimes, precision)}.json"
    if (kept := _read(path)) is not None:
        return kept
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    found = [one for runtime in runtimes if (one := _measured(file.path, runtime, precision)) is not None]
    if not found:
        return None
    found.sort(key=lambda one: one.ms)
    _logger.info("the network runs on %s (milliseconds for two hands: %s)", found[0].runtime, found)
    _keep(path, found)
    return found[0]


def _key(file: NetworkFile, runtimes: Sequence[str], precision: str) -> str:
    processor = {field for field in cpu_fields() if field[0] in ("model name", "flags", "Features", "CPU part")}
    return cache_key(
        [
            versions.GRAPH,
            file.digest,
            can_decode(file.config),
            precision,
            {runtime: installed_version(runtime) for runtime in runtimes},
            sorted(processor),
            available_cpus(),
        ]
    )


def _read(path: Path) -> Measured | None:
    file = open_cached(path)
    if file is None:
        return None
    with file:
        return Measured(*json.load(file)[0])


def _keep(path: Path, found: Sequence[Measured]) -> None:
    with suppress(OSError), cached_output(path) as partial:
        partial.write_text(json.dumps(found))


def _measured(path: Path, runtime: str, precision: str) -> Measured | None:
    command = [*END_WITH_PARENT, sys.executable, "-m", _MEASUREMENT, str(path), runtime, precision]
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
