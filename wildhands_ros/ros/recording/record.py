"""``wildhands record``: records topics to an MCAP bag, without a ROS distribution."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from ..shutdown import shut_down
from .recorder import Counts, Recorder


def run(folder: Path, topics: Sequence[str], everything: bool = False) -> int:
    """Records until SIGINT or SIGTERM, or until the disk is full, and prints the counts.

    Args:
        folder: the new bag.
        topics: names of the topics.
        everything: whether to record all topics instead.

    Returns:
        The exit code: 1 if messages are missing from the bag.

    Raises:
        OSError: the folder exists or cannot be written.
    """
    stopped = threading.Event()
    # rclpy's own signal handler would shut down before the bag is complete.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    previous = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with closing(Recorder(folder, topics, everything)) as recorder:
            while not stopped.is_set() and not recorder.failure:
                rclpy.spin_once(recorder, timeout_sec=0.1)
        recorder.destroy_node()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        shut_down()
    print(counts_table(recorder.counts))
    print(f"wrote {folder}")
    for problem in filter(None, (recorder.failure, *(f"no publisher on {topic}" for topic in recorder.missing))):
        print(f"wildhands: {problem}", file=sys.stderr)
    complete = not any(counts.dropped or counts.lost for counts in recorder.counts.values())
    return 0 if complete and not recorder.failure else 1


def counts_table(counts: Mapping[str, Counts]) -> str:
    """Returns a table with one line per topic."""
    width = max(map(len, counts), default=0)
    lines = [f"{'topic':<{width}}  received  written  dropped  lost"]
    lines += [
        f"{name:<{width}}  {c.received:>8}  {c.written:>7}  {c.dropped:>7}  {c.lost:>4}"
        for name, c in sorted(counts.items())
    ]
    return "\n".join(lines)
