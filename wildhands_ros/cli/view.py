"""``wildhands view``: the hands of a stream or of an annotated recording in a browser."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.progress import LOADING, busy
from .cameras import FrameCameras
from .exit_codes import EXIT_OK
from .options import add_camera_options, add_estimator_options, add_size_option, estimator_config, intrinsics

if TYPE_CHECKING:
    from .options import Subparsers


def add_commands(commands: Subparsers) -> None:
    """Adds ``view``."""
    view = commands.add_parser("view", help="show the hands of a stream or a recording in a browser (needs viser)")
    view.add_argument(
        "input",
        metavar="INPUT",
        help="video, folder of images, image or camera number; or an annotated recording (rosbag2 folder, .mcap)",
    )
    view.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 serves all machines; default: this machine only",
    )
    view.add_argument(
        "--port", type=int, default=8080, metavar="N", help="port to listen on; default: 8080, or the next free one"
    )
    view.add_argument("--no-browser", action="store_true", help="do not open a browser")
    add_camera_options(view)
    add_size_option(view)
    add_estimator_options(view)
    view.set_defaults(run=_view, ends_promptly=True)


def _view(args: argparse.Namespace) -> int:
    from ..recording.bags import is_bag

    if is_bag(Path(args.input)):
        from ..ros.recording.viewing import view_recording

        view_recording(Path(args.input), args.host, args.port, not args.no_browser)
        return EXIT_OK
    return _view_stream(args)


def _view_stream(args: argparse.Namespace) -> int:
    from ..config import SearchTime, SmoothingConfig
    from ..io.sources import open_source
    from ..visualization.view_stream import view_stream

    source, cameras = open_source(args.input, args.max_pixels), FrameCameras(intrinsics(args))
    # A live camera does not wait: limit the search by time, not by a number of windows.
    with busy(LOADING):
        from ..estimator import Estimator

        estimator = Estimator(replace(estimator_config(args), search=SearchTime(), smoothing=SmoothingConfig()))
    view_stream(estimator, source, lambda frame: cameras(frame).camera, args.host, args.port, not args.no_browser)
    return EXIT_OK
