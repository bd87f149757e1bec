"""Measures ``wildhands estimate`` on photographs: the first one from the prompt, and each further one of a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..io.images import IMAGE_SUFFIXES, encode_image
from .clip import Clip

_FRAMES = 8
"""Number of images if they come from the clip."""


class Run(NamedTuple):
    """What a run of the command took."""

    seconds: float
    """From the start of the process to its end."""
    cpu_seconds: float
    """Processor time, including that of its child processes."""


def measure_stills(clip: Clip, photographs: Path | None) -> dict[str, object]:
    """Returns the figures.

    Args:
        clip: Its images are used if there are no photographs.
        photographs: Folder of photographs.

    Raises:
        ValueError: There are fewer than two photographs in the folder.
        RuntimeError: The command failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images, empty = folder / "images", folder / "cache"
        images.mkdir()
        if photographs is None:
            _write_frames(clip, images)
        else:
            for path in sorted(photographs.iterdir()):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    shutil.copy(path, images)
        paths = sorted(images.iterdir())
        if len(paths) < 2:
            raise ValueError(f"{photographs}: at least two photographs are needed")
        _estimate(images)  # Fills the caches.
        first, all_of_them = _estimate(paths[0]), _estimate(images)
        without_cache = _estimate(paths[0], {"XDG_CACHE_HOME": str(empty)})
    return still_figures(first, all_of_them, without_cache, len(paths))


def still_figures(first: Run, all_of_them: Run, without_cache: Run, images: int) -> dict[str, object]:
    """Returns the figures of the runs with the first image, with all images, and with the first one and no cache."""
    further = images - 1
    return {
        "images": images,
        "first_s": round(first.seconds, 2),
        "first_cpu_s": round(first.cpu_seconds, 2),
        "first_without_cache_s": round(without_cache.seconds, 2),
        "first_without_cache_cpu_s": round(without_cache.cpu_seconds, 2),
        "further_s": round((all_of_them.seconds - first.seconds) / further, 3),
        "further_cpu_s": round((all_of_them.cpu_seconds - first.cpu_seconds) / further, 3),
    }


def _write_frames(clip: Clip, folder: Path) -> None:
    step = len(clip.frames) // _FRAMES
    for number, image in enumerate(islice(clip.frames, 0, None, max(step, 1))):
        (folder / f"{number:02}.jpg").write_bytes(encode_image(image, ".jpg"))


def _estimate(source: Path, environment: Mapping[str, str] | None = None) -> Run:
    command: Sequence[str] = [sys.executable, "-m", "wildhands_ros.cli.main", "estimate", str(source)]
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds, code = time.monotonic() - start, os.waitstatus_to_exitcode(status)
        process.returncode = code  # It has been waited for.
        if code != 0:
            output.seek(0)
            raise RuntimeError(f"wildhands estimate ended with exit code {code}: {output.read().decode()[-300:]}")
    return Run(seconds, used.ru_utime + used.ru_stime)
