"""``wildhands estimate``: the hands in files."""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.progress import say, warn, with_progress
from .cameras import FrameCameras
from .exit_codes import report_problems
from .options import (
    MAX_HANDS,
    add_camera_options,
    add_estimator_options,
    add_size_option,
    intrinsics,
    make_estimator,
)

if TYPE_CHECKING:
    from .options import Subparsers

MAX_HANDS_IN_STILLS = 10
"""Default of ``--max-hands`` for images: a photograph may show several people, a video usually shows one person's
hands."""


def add_commands(commands: Subparsers) -> None:
    """Adds ``estimate``."""
    estimate = commands.add_parser(
        "estimate",
        help="estimate the hands in an image, a folder of images or a video",
        epilog="The exit code is 1 if some of the input could not be read (listed on stderr).",
    )
    estimate.add_argument("input", metavar="INPUT", help="image, folder of images, or video")
    add_camera_options(estimate)
    add_size_option(estimate)
    estimate.add_argument(
        "--json", type=Path, metavar="OUT", help="write the hands: metres, pixels of the input, MediaPipe joint order"
    )
    estimate.add_argument(
        "--overlay",
        type=Path,
        metavar="OUT",
        help="write INPUT with the hands drawn on it: an image, a folder or an .mp4",
    )
    add_estimator_options(estimate, None, f"{MAX_HANDS_IN_STILLS} for images, {MAX_HANDS} for videos")
    estimate.set_defaults(run=_estimate, ends_promptly=True)


def _estimate(args: argparse.Namespace) -> int:
    from ..io.files import OutputFile
    from ..io.images import InputError
    from ..io.sources import CameraSource, FolderSource, open_source
    from ..visualization.overlay import draw_frame
    from ..visualization.overlay_writers import overlay_for
    from .results import Results

    source = open_source(args.input, args.max_pixels)
    if isinstance(source, CameraSource):
        raise InputError(f"estimate reads files; for a live camera run: wildhands demo {args.input}")
    if args.json and args.overlay and args.json.resolve() == args.overlay.resolve():
        raise InputError(f"{args.json}: --json and --overlay name the same file")
    if args.max_hands is None:
        args.max_hands = MAX_HANDS_IN_STILLS if source.fps is None else MAX_HANDS
    cameras = FrameCameras(intrinsics(args))
    results = Results()
    frames = hands = 0
    seconds = 0.0
    with ExitStack() as outputs:
        # Open the outputs first: a path that cannot be written fails before the work.
        json_file = outputs.enter_context(OutputFile(args.json)) if args.json else None
        overlay = outputs.enter_context(overlay_for(source, args.overlay)) if args.overlay else None
        estimator = make_estimator(args)
        try:
            for frame in with_progress(source, source.count, "frame"):
                view = cameras(frame)
                start = time.perf_counter()
                estimate = estimator(frame.image, view.camera, frame.stamp)
                seconds += time.perf_counter() - start
                frames, hands = frames + 1, hands + len(estimate.hands)
                results.add(estimate, frame.name, frame.stamp, view.origin)
                if overlay:
                    overlay.write(draw_frame(frame.image, estimate, estimator.faces), frame.name)
        except KeyboardInterrupt:
            _report_interruption(args, frames, isinstance(source, FolderSource))
            raise
        if json_file:
            results.write(json_file, source.problems)
    exit_code = report_problems(source.problems)
    problem_count = f", {len(source.problems)} problems" if source.problems else ""
    print(f"{frames} frames, {hands} hands, {frames / seconds:.1f} frames/s{problem_count}")
    for path in filter(None, (args.json, args.overlay)):
        say(f"wrote {path}")
    return exit_code


def _report_interruption(args: argparse.Namespace, frames: int, is_folder: bool) -> None:
    """Says what becomes of the outputs."""
    overlay_is_kept = is_folder and args.overlay
    lost = [str(path) for path in (args.json, None if overlay_is_kept else args.overlay) if path]
    texts = [f"{', '.join(lost)} not written"] if lost else []
    texts += [f"the images so far are in {args.overlay}"] if overlay_is_kept else []
    warn(f"interrupted after {frames} frames{': ' if texts else ''}{'; '.join(texts)}")
