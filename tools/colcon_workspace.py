"""Build the package with colcon as a user does, and run its smoke tests with colcon test.

    make test-colcon

Needs .venv with everything for the tests. Uses the standard library only, like setup_env.py.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import setup_env


def workspace() -> Path:
    """Return the folder of the colcon workspace in the environment."""
    return setup_env.VENV / "workspace"


def colcon(*arguments: str, **variables: str) -> int:
    """Run colcon in the workspace, with further environment variables, and return its exit code."""
    command = [setup_env.VENV / "bin" / "colcon", *arguments]
    return subprocess.run(command, cwd=workspace(), env={**setup_env.environment(), **variables}).returncode


def build_workspace(packages: dict[str, Path]) -> None:
    """Build packages, whose sources are linked into the workspace.

    Args:
        packages: Folder of each package's sources.

    Raises:
        SetupError: The build failed.
    """
    sources = workspace() / "src"
    sources.mkdir(parents=True, exist_ok=True)
    for name, source in packages.items():
        link = sources / name
        if not link.is_symlink():
            link.symlink_to(source)
    options = ("--merge-install", "--event-handlers", "console_cohesion-")
    if colcon("build", *options, "--cmake-args", "-GNinja", f"-DPython3_EXECUTABLE={setup_env.PYTHON}"):
        raise setup_env.SetupError("colcon build failed: see above.")


def main() -> int:
    results = workspace() / "build" / "wildhands_ros" / "test_results"
    shutil.rmtree(results, ignore_errors=True)
    try:
        build_workspace({"wildhands_ros": setup_env.ROOT})
    except setup_env.SetupError as error:
        print(error, file=sys.stderr)
        return 1
    only_smoke = {"PYTEST_ADDOPTS": "-m smoke -p no:cacheprovider"}
    colcon("test", "--merge-install", "--ctest-args", "-L", "smoke", **only_smoke)
    code = colcon("test-result", "--verbose")
    if not any(results.rglob("*.xunit.xml")):
        print("no test has run", file=sys.stderr)  # colcon considers that a success.
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
