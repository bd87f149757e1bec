"""What would end every ROS process here or keep it apart from all others: logs, shared memory, ROS's variables.

Only the standard library is imported here; see process.py.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_LTTNG_FILES = "lttng-ust-wait-*"
_LTTNG_BYTES = 2 * 4096
"""Shared memory of LTTng, which rclpy's libraries load: a page for the user and one for all."""


MIDDLEWARE, DOMAIN = "RMW_IMPLEMENTATION", "ROS_DOMAIN_ID"
_SERVER, _RANGE = "ROS_DISCOVERY_SERVER", "ROS_AUTOMATIC_DISCOVERY_RANGE"
_LAST_DOMAIN = 232
"""Domains have ports of their own, and there are no ports for more."""


def adapt_to_machine() -> None:
    """Selects another log folder if ROS's cannot be written, and reports that on stderr.

    Call it before rclpy is imported.

    Raises:
        OSError: shared memory is full, so that importing rclpy would end the process with SIGBUS.
        ValueError: a variable of ROS has a value with which its C libraries would end the process, or talk to nobody.
    """
    _check_domain()
    _check_middleware()
    if _free_shared_memory() < _LTTNG_BYTES and not any(SHARED_MEMORY.glob(_LTTNG_FILES)):
        raise OSError(f"{SHARED_MEMORY} is full, and no ROS process can start without it: remove files there")
    folder = _log_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        # rclpy.init would fail.
        os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="wildhands_log_")
        text = f"cannot write logs to {folder} ({error.strerror}); they go to {os.environ['ROS_LOG_DIR']}"
        print(f"wildhands: warning: {text}", file=sys.stderr)


def discovery_hint() -> str:
    """Returns what may keep other processes from being found, to be appended to a message; empty if nothing does."""
    if os.environ.get(MIDDLEWARE) == "rmw_zenoh_cpp":
        return "; does its router run (ros2 run rmw_zenoh_cpp rmw_zenohd)?"
    if server := os.environ.get(_SERVER):
        return f"; processes find each other by the server {server} only ({_SERVER}): does it run, and is it reachable?"
    if os.environ.get(_RANGE, "").upper() == "OFF":
        return f"; {_RANGE} is OFF, so no other process is found: set it to LOCALHOST or SUBNET"
    domain = os.environ.get(DOMAIN, "")
    return f"; this node is in domain {domain} ({DOMAIN}), and sees no other" if domain not in ("", "0") else ""


def _check_domain() -> None:
    text = os.environ.get(DOMAIN, "")
    if text and not (text.isascii() and text.isdecimal() and int(text) <= _LAST_DOMAIN):
        raise ValueError(f"{DOMAIN} is {text}, but has to be a number from 0 to {_LAST_DOMAIN}, best of all up to 101")


def _check_middleware() -> None:
    name = os.environ.get(MIDDLEWARE)
    if not name:
        return
    try:
        from ament_index_python.resources import get_resources
    except ImportError:  # The program itself says that ROS is missing.
        return
    installed = sorted(set(get_resources("rmw_typesupport")) - {"rmw_implementation"})
    if name not in installed:
        raise ValueError(
            f"{MIDDLEWARE} is {name}, which is not installed for this Python ({sys.prefix}); it has "
            f"{', '.join(installed) or 'none'}: unset {MIDDLEWARE}"
        )


def _free_shared_memory() -> float:
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # There is none on this system, which is the middleware's business.
        return float("inf")


def _log_folder() -> Path:
    """Returns the folder that ROS's logging chooses."""
    if folder := os.environ.get("ROS_LOG_DIR"):
        return Path(folder).expanduser()
    return Path(os.environ.get("ROS_HOME") or "~/.ros").expanduser() / "log"
