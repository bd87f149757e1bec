"""Measures how fast ``wildhands annotate`` is, and how much memory it takes, on a recording of any length.

A short and a long video are annotated with everything that a recording can have: smoothing, and hands in a fixed frame.
Their difference is what each frame takes, and the rest is what a start takes. What a longer recording would take
follows from both.
"""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ...benchmark.clip import RATE, Clip, load_clip
from ...benchmark.machine import pss_mb
from ...io.files import OutputFile
from ...io.video_writer import VideoWriter
from ...runtime.processes import repeated
from ...runtime.threads import available_cpus
from ..isolated_graph import child_process

LONG_MINUTES = 30
"""Duration of the recording for which the figures are extrapolated."""
SHORT = 1 / 3
"""Duration of the short video as a share of that of the long one."""
_SAMPLED = 0.5
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class AnnotationRun:
    """What annotating one video took."""

    frames: int
    seconds: float
    cpu_seconds: float
    """Processor time of all processes."""
    main_mb: float
    """Most memory of the process that writes the bag, which keeps the hands of all frames."""
    workers_mb: float
    """Most memory of all other processes together, which does not depend on the duration."""


def measure_annotation(demo: Path, seconds: float) -> dict[str, object]:
    """Annotates videos of the demo clip and returns the figures.

    Args:
        demo: folder of the demo clip.
        seconds: duration of the long video.

    Raises:
        RuntimeError: the command failed.
    """
    clip = load_clip(demo)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        poses = Path(folder) / "poses.txt"
        poses.write_text(_turning_camera(seconds))
        for number, duration in enumerate((SHORT * seconds, seconds)):
            video = Path(folder) / f"{number}.mp4"
            frames = _write_video(video, clip, duration)
            runs.append(_annotate(video, frames, ["--camera-info", str(demo / "camera_info.yaml"), *_options(poses)]))
    return annotation_figures(*runs)


def annotation_figures(short: AnnotationRun, long: AnnotationRun) -> dict[str, object]:
    """Returns time and memory of each frame and of a recording of ``LONG_MINUTES``.

    On a busy machine, ``times_real_time_by_cpu`` tells how fast it would be without the other work. The memory grows
    with the recording once its hands take more than the start: the long video should have a minute or more.
    """
    added = long.frames - short.frames
    per_frame = (long.seconds - short.seconds) / added
    start = max(long.seconds - per_frame * long.frames, 0.0)
    frames = LONG_MINUTES * 60 * RATE
    main = long.main_mb + max(long.main_mb - short.main_mb, 0.0) / added * (frames - long.frames)
    workers = max(short.workers_mb, long.workers_mb)
    cpu_per_frame = (long.cpu_seconds - short.cpu_seconds) / added
    return {
        "frames": [short.frames, long.frames],
        "seconds": [round(short.seconds, 1), round(long.seconds, 1)],
        "ms_per_frame": round(1e3 * per_frame, 2),
        "cpu_ms_per_frame": round(1e3 * cpu_per_frame, 2),
        "cpus": available_cpus(),
        "memory_mb": [round(run.main_mb + run.workers_mb) for run in (short, long)],
        f"of_{LONG_MINUTES}_minutes": {
            "minutes": round((start + per_frame * frames) / 60, 1),
            "times_real_time": round(LONG_MINUTES * 60 / (start + per_frame * frames), 2),
            "times_real_time_by_cpu": round(available_cpus() / RATE / cpu_per_frame, 2),
            "memory_mb": round(main + workers),
        },
    }


def _options(poses: Path) -> list[str]:
    return ["--smooth", "--camera-poses", str(poses), "--pose-format", "tum", "--jobs", str(available_cpus())]


def _annotate(video: Path, frames: int, options: Sequence[str]) -> AnnotationRun:
    """Runs the command and watches its processes."""
    main, workers = [0.0], [0.0]
    command = [sys.executable, "-m", "wildhands_ros.cli.main", "annotate", str(video), *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with child_process(command, stdout=subprocess.DEVNULL) as process:

        def look() -> None:
            memory = pss_mb(process.pid)
            main.append(memory.pop(process.pid, 0.0))
            workers.append(sum(memory.values()))

        with repeated(look, _SAMPLED):
            code = process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    if code != 0:
        raise RuntimeError(f"wildhands annotate ended with exit code {code}")
    cpu = after[0].ru_utime + after[0].ru_stime - before[0].ru_utime - before[0].ru_stime
    return AnnotationRun(frames, after[1] - before[1], cpu, max(main), max(workers))


def _write_video(path: Path, clip: Clip, seconds: float) -> int:
    """Writes the clip, forwards and backwards, and returns the number of frames."""
    frames = max(round(seconds * RATE), 2)
    with OutputFile(path) as partial:
        video = VideoWriter(partial, RATE)
        for image in islice(clip.endless(), frames):
            video.write(image)
        video.close()
    return frames


def _turning_camera(seconds: float) -> str:
    """Returns the trajectory of a camera that turns slowly, as a TUM file."""
    angles = (0.2 * math.sin(number / 10) for number in range(math.ceil(10 * seconds) + 20))
    return "".join(
        f"{number / 10 - 1:.1f} 0 0 0 0 {math.sin(angle / 2):.6f} 0 {math.cos(angle / 2):.6f}\n"
        for number, angle in enumerate(angles)
    )
