"""Measures how the nodes end: signals at random moments, beside a busy machine.

.venv/bin/python tools/measure_shutdown.py --moments 200

Each run starts a node, waits a random time from the moment at which Python handles signals, and sends SIGINT or
SIGTERM, once or several times. The node must exit with code 0 within two seconds of the first signal, without a
traceback. The exit code of this command is 1 if a run missed that.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS: dict[str, tuple[str, ...]] = {
    "node": ("wildhands_ros.ros.node",),
    "teleop": ("wildhands_ros.ros.teleop.node",),
    "episodes": ("wildhands_ros.ros.recording.episodes",),
    "rviz": ("wildhands_ros.ros.rviz",),
    "cameras": ("wildhands_ros.ros.several_cameras", "left", "right"),
}
"""Module and arguments of each program."""
LIMIT = 2.0
"""Seconds from the first signal to the end."""
PATIENCE = 30.0
"""Seconds after which a process is killed."""
SIGNALS = (
    (signal.SIGINT,),
    (signal.SIGTERM,),
    (signal.SIGINT,) * 2,
    (signal.SIGINT, signal.SIGTERM),
    (signal.SIGINT,) * 5,
)
BUSY_LOOP = "while True: pass"


@dataclass(frozen=True)
class Ending:
    """How a process ended; ``moment`` and ``seconds`` are counted from the start and from the first signal."""

    program: str
    moment: float
    signals: tuple[signal.Signals, ...]
    seconds: float
    code: int
    output: str

    @property
    def is_clean(self) -> bool:
        return self.code == 0 and self.seconds < LIMIT and "Traceback" not in self.output

    def __str__(self) -> str:
        names = "+".join(number.name for number in self.signals)
        return f"{self.program}: {names} at {self.moment:.2f} s: code {self.code} after {self.seconds:.2f} s"


def handles_signals(pid: int) -> bool:
    """Returns whether a process handles SIGTERM; before that, none of our code runs."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def end(program: str, rng: random.Random, longest: float) -> Ending:
    """Starts a program, sends signals at a random moment and returns how it ended."""
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(rng.randint(1, 101)),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
    }
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *PROGRAMS[program], "--ros-args"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None and not handles_signals(process.pid):
                time.sleep(0.005)
            moment, signals = rng.uniform(0, longest), rng.choice(SIGNALS)
            time.sleep(moment)
            start = time.monotonic()
            gap = rng.uniform(0, 0.3)
            for number in signals:
                process.send_signal(number)
                try:
                    process.wait(gap)
                    break
                except subprocess.TimeoutExpired:
                    pass
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pass
        finally:
            seconds = time.monotonic() - start
            process.kill()
            code = process.wait()
        log.seek(0)
        return Ending(program, moment, signals, seconds, code, log.read())


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keeps the machine busy."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200, help="number of runs (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=10.0, help="latest moment in seconds (default: %(default)s)")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=["node", "teleop", "episodes"])
    parser.add_argument(
        "--load", type=int, default=os.cpu_count(), help="busy processes beside it (default: one per core)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    endings = []
    with load(options.load):
        for index in range(options.moments):
            ending = end(options.programs[index % len(options.programs)], rng, options.longest)
            endings.append(ending)
            if not ending.is_clean:
                print(f"MISSED {ending}\n{ending.output}", flush=True)
    times = sorted(ending.seconds for ending in endings)
    misses = sum(not ending.is_clean for ending in endings)
    print(
        f"{len(endings) - misses} passed, {misses} failed\n"
        f"seconds to the end: median {times[len(times) // 2]:.2f}, largest {times[-1]:.2f}; load average "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return misses > 0


if __name__ == "__main__":
    sys.exit(main())
