"""The machine that the benchmark runs on, and the resources that a process uses."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from .. import __version__
from ..runtime.installation import cpu_fields, installed_version
from ..runtime.threads import available_cpus

_PACKAGES = ("mediapipe", "numpy", "onnxruntime", "openvino", "torch")
_FLAGS = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni"),
    *("avx512f", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""Instruction sets of x86 and ARM on which the speed of networks depends, by their names in /proc/cpuinfo."""


def machine() -> dict[str, object]:
    """Returns processor, instruction sets, cores, memory, versions and ``load``, the load average over the last minute.

    ``cores`` are the machine's, ``cpus`` those that this process may use.
    """
    names = dict(cpu_fields())
    available = (names.get("flags") or names.get("Features", "")).split()
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": names.get("model name", platform.machine()),
        "flags": [flag for flag in _FLAGS if flag in available],
        "cores": os.cpu_count(),
        "cpus": available_cpus(),
        "memory_gb": round(int(memory.split()[1]) / 2**20, 1),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "wildhands_ros": __version__,
        **{name: installed_version(name) for name in _PACKAGES},
    }


def cpu_seconds(pid: int) -> float:
    """Returns the processor time that a process and its threads have used."""
    # Split after the process name, which may contain spaces: state is field 3, user and system time are 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> dict[int, float]:
    """Returns the memory of a process and all its descendants in megabytes, by their numbers.

    Memory that several processes share counts for each of them in part, so that the sum is what all take together.
    """
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while children := {child for child, parent in parents.items() if parent in family} - family:
        family |= children
    found = {}
    for each in family:
        with suppress(OSError):
            rows = dict(line.split(":", 1) for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()[1:])
            found[each] = int(rows["Pss"].split()[0]) / 1024
    return found


def rss_mb(pid: int) -> dict[str, float]:
    """Returns the resident memory of a process in megabytes, now and at its peak."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024),
        "peak_rss_mb": round(int(status["VmHWM"].split()[0]) / 1024),
    }
