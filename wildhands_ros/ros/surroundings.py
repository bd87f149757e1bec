"""What would end every ROS process on this machine: a log folder that cannot be written, or full shared memory.

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


def adapt_to_machine() -> None:
    """Selects another log folder if ROS's cannot be written, and reports that on stderr.

    Call it before rclpy is imported.

    Raises:
        OSError: shared memory is full, so that importing rclpy would end the process with SIGBUS.
    """
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
