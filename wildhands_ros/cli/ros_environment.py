"""ROS settings of the shell that can break commands: another middleware, or the ROS of another Python."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from ..ros.surroundings import MIDDLEWARE, adapt_to_machine


def prepare_middleware(is_needed: bool) -> None:
    """Checks and changes ROS's settings for a command that needs the middleware.

    A command that talks to no other process ignores RMW_IMPLEMENTATION, with which ROS's C library might end it.

    Raises:
        ValueError: the middleware is needed, but a variable of ROS cannot be used.
    """
    if is_needed:
        adapt_to_machine()
    else:
        os.environ.pop(MIDDLEWARE, None)


def foreign_ros(error: ImportError) -> str:
    """Returns the explanation of an import error due to the ROS of another Python; empty for any other error."""
    # rclpy raises errors without a name of its own, for its C extension and for those of messages.
    found = re.search(r"No module named '(\w+)\.", str(error))
    if found is None or not re.search(r"_pybind11|C extension|rosidl", str(error)):
        return ""
    package = found[1]
    spec = find_spec(package)
    origin = Path(spec.origin).parent if spec is not None and spec.origin else None
    if origin is None:
        return ""
    advice = "use the Python that this ROS was built for"
    if any(entry and origin.is_relative_to(Path(entry).resolve()) for entry in _python_path()):
        advice = "PYTHONPATH leads there: use a shell in which no ROS is sourced, or unset PYTHONPATH"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{origin} cannot be loaded by Python {version} ({sys.executable}); it may belong to the ROS of another "
        f"Python. {advice[0].upper()}{advice[1:]}. ({' '.join(str(error).split())})"
    )


def _python_path() -> list[str]:
    return os.environ.get("PYTHONPATH", "").split(os.pathsep)
