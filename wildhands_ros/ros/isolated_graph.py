"""An isolated ROS graph for the demo, the benchmark and the soak test, and child processes that run nodes in it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from ..runtime.processes import END_WITH_PARENT
from .share import share_folder


def isolate_graph() -> None:
    """Isolates this process and its children from other ROS nodes; call it before ``rclpy.init``.

    It selects a random ROS domain on this machine only, so that nothing reaches the user's robot or comes from it. It
    also makes Fast DDS transfer large images in one piece, unless the user has configured Fast DDS profiles.
    """
    os.environ.update(ROS_DOMAIN_ID=str(random.randint(1, 101)), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(variable, str(share_folder("config") / "fastdds_large_images.xml"))


@contextmanager
def child_process(command: list[str], stdout: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Runs a child process until the block ends, then interrupts it and, after 10 s, kills it.

    The child has its own session: Ctrl-C reaches this process only, which then ends the child in order. If this process
    is killed, the child ends too.
    """
    process = subprocess.Popen([*END_WITH_PARENT, *command], stdout=stdout, text=True, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
