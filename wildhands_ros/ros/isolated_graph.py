"""A ROS graph of their own for the demo, the benchmark and the soak, and nodes in processes of their own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .share import share_folder


def isolate_graph() -> None:
    """For this process and its children, before rclpy.init: nothing reaches the user's robot, nor the other way round, and Fast DDS hands
    large images over in one piece, unless the user has profiles of their own."""
    os.environ.update(ROS_DOMAIN_ID=str(random.randint(1, 101)), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    for variable in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(variable, str(share_folder("config") / "fastdds_large_images.xml"))


@contextmanager
def child_process(command: list[str], **options) -> Iterator[subprocess.Popen]:
    """A child that ends with the block; in a session of its own, so that Ctrl-C reaches us alone and we end it in order."""
    process = subprocess.Popen(command, start_new_session=True, **options)
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
