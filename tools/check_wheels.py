"""Check that everything that `pip install .` installs has a wheel for 64-bit ARM boards (Jetson, Raspberry Pi 5).

    python tools/check_wheels.py

The platform is Linux with glibc 2.35 (Ubuntu 22.04, JetPack 6, Raspberry Pi OS 12), which OpenVINO's wheels for ARM
need. Asks the package registry; nothing is downloaded or installed.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires

PLATFORM = "aarch64-manylinux_2_35"
PYTHONS = ("3.10", "3.11", "3.12")


def missing_wheels(requirements: list[str], python: str) -> str:
    """Return why the requirements cannot be installed from wheels; an empty string if they can."""
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "-",
        "--quiet",
        "--only-binary",
        ":all:",
        "--no-header",
        "--no-annotate",
    ]
    command += ["--python-platform", PLATFORM, "--python-version", python]
    result = subprocess.run(command, input="\n".join(requirements), capture_output=True, text=True)
    print(f"Python {python}, {PLATFORM}: {' '.join(result.stdout.split())}", flush=True)
    return result.stderr if result.returncode else ""


def main() -> int:
    requirements = [line for line in requires("wildhands_ros") or [] if "extra ==" not in line]
    errors = list(filter(None, (missing_wheels(requirements, python) for python in PYTHONS)))
    print("\n".join(errors), file=sys.stderr, end="")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
