"""The processor and the packages that are installed, on which the speed of runtimes depends."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def cpu_fields() -> list[tuple[str, str]]:
    """Returns names and values of /proc/cpuinfo, of one core after the other; empty on systems without it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    return [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines) if value]


def installed_version(package: str) -> str | None:
    """Returns the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
