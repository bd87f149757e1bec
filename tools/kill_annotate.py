#!/usr/bin/env python3
"""Kills ``wildhands annotate`` at random moments, resumes it, and compares the result with an uninterrupted run.

Processes are killed with SIGKILL: all at once as when power fails, the main process alone, or one worker as when memory
runs out. Half of the kills hit at a random time after the start, the other half while the bag is written and moved to
its place. A run that completes before it is killed is compared and begun anew.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path

from wildhands_ros.cli.main import main as wildhands
from wildhands_ros.io.sources import open_source
from wildhands_ros.io.video_writer import VideoWriter
from wildhands_ros.recording import annotation

DEMO = Path(__file__).parent.parent / "demo"
SEGMENT_LENGTH = 10
TARGETS = "all processes", "the main process", "a worker"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="number of kills (default: 20)")
    parser.add_argument("--frames", type=int, default=60, help="frames of the demo's clip (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, output = folder / "clip.mp4", folder / "hands"
        write_clip(video, args.frames)
        start = time.monotonic()
        if run(video, output).wait():
            raise SystemExit("the uninterrupted run failed")
        seconds = time.monotonic() - start
        expected = hashes(output)
        remove(output)
        print(f"uninterrupted: {seconds:.0f} s, {len(expected)} files")
        kills: Counter[str] = Counter()
        completed = different = 0
        for number in count():
            is_last = kills.total() >= args.kills
            process = run(video, output)
            if not is_last:
                wait_for_moment(process, output, rng, seconds, late=number % 2 == 1)
                target = rng.choice(TARGETS)
                if process.poll() is None and kill(process, target, rng):
                    done = len(list(folder.glob("hands.partial/segments/[0-9]*.npz")))
                    place = "the bag is in its place" if output.exists() else f"{done} segments"
                    kills[target] += 1
                    print(f"killed {target}: {place}", flush=True)
            # Killed after everything was done, it is complete although it did not say so.
            ended = process.wait()
            is_complete = output.exists() and not output.with_name("hands.partial").exists()
            if ended == 0 or is_complete:
                completed += 1
                if hashes(output) != expected or output.with_name("hands.partial").exists():
                    different += 1
                    print("DIFFERENT from the uninterrupted run", flush=True)
                remove(output)
                if is_last:
                    break
            elif is_last:
                raise SystemExit("the last run failed although it was not killed")
    print(f"{kills.total()} kills ({', '.join(f'{kills[each]} of {each}' for each in TARGETS)})")
    print(f"{completed} runs completed, {different} with other bytes")
    return different


def run(video: Path, output: Path) -> subprocess.Popen[bytes]:
    """Starts the command, which resumes what is there, as a process group of its own."""
    command = [sys.executable, __file__, "--annotate", str(video), str(output)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def annotate(video: str, output: str) -> int:
    """Runs the command in this process, with segments that are short enough for this clip."""
    annotation.SEGMENT_LENGTH = SEGMENT_LENGTH
    calibration = str(DEMO / "camera_info.yaml")
    return wildhands(["annotate", video, "--output", output, "--camera-info", calibration, "--jobs", "2"])


def wait_for_moment(
    process: subprocess.Popen[bytes], output: Path, rng: random.Random, seconds: float, late: bool
) -> None:
    """Waits until the moment at which a run is killed, or until it ends."""
    bag = output.with_name(f"{output.name}.partial") / output.name
    if late:
        while process.poll() is None and not bag.exists() and not output.exists():
            time.sleep(0.001)
    end = time.monotonic() + rng.uniform(0, 0.05 * seconds if late else seconds)
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)


def kill(process: subprocess.Popen[bytes], target: str, rng: random.Random) -> bool:
    """Kills processes of a run and waits until all have ended; returns False if the target has no process."""
    workers = children(process.pid)
    if target == TARGETS[2] and not workers:
        return False
    with suppress(ProcessLookupError):
        if target == TARGETS[0]:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid if target == TARGETS[1] else rng.choice(workers), signal.SIGKILL)
    return True


def children(pid: int) -> list[int]:
    """Returns the worker processes of a process."""
    with suppress(OSError):
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def write_clip(path: Path, frames: int) -> None:
    """Writes the first frames of the demo's clip."""
    writer = VideoWriter(path, 30)
    for _, frame in zip(range(frames), open_source(str(DEMO / "clip.mp4")), strict=False):
        writer.write(frame.image)
    writer.close()


def hashes(folder: Path) -> dict[str, str]:
    """Returns the hash of each file of a bag."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def remove(folder: Path) -> None:
    """Removes a bag."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--annotate"]:
        sys.exit(annotate(*sys.argv[2:]))
    sys.exit(main())
