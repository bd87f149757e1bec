"""``wildhands demo``: runs a camera process, the node's process and a recorder over DDS.

It leaves a video with the hands drawn on it and a recording, and prints a summary.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from ...io.progress import Progress
from ...io.sources import ASSUMED_FPS, FolderSource, FrameSource, ImageSource, open_source
from ...visualization.overlay_writers import VideoOverlay, overlay_for
from ..isolated_graph import child_process, isolate_graph
from ..shutdown import shut_down
from .processes import (
    OUTPUT,
    DemoInput,
    SentFrames,
    bundled_clip,
    camera_command,
    hand_node,
    make_output_folder,
    read_sent,
)
from .recorder import NODE_TOPICS, Recorder, stamp_of
from .summary import summary

DRAIN = 1.5
"""Seconds without a message after which the recording ends."""


def run_demo(source: str | None) -> int:
    """Runs the demo and leaves the results in demo_output/.

    Args:
        source: video, folder of images, or camera number; None for the bundled clip.

    Returns:
        The exit code: 0 if at least one frame was processed.

    Raises:
        ValueError: the source cannot be read.
        OSError: the output folder cannot be written.
    """
    demo_input = bundled_clip() if source is None else DemoInput(source)
    is_camera = demo_input.source.isdecimal() and not Path(demo_input.source).exists()
    opened = None if is_camera else open_source(demo_input.source)
    recording = OUTPUT / "recording"
    _clear_output()
    overlay_path = OUTPUT / _overlay_name(opened)
    overlay = VideoOverlay(overlay_path, ASSUMED_FPS) if opened is None else overlay_for(opened, overlay_path)

    isolate_graph()
    # rclpy's own handler for Ctrl-C would cut off the recording.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        # Start the recorder first: DDS participants that start at the same moment sometimes do not discover each other.
        with (
            overlay,
            closing(Recorder(recording, overlay.write)) as recorder,
            hand_node(demo_input.calibration is not None),
        ):
            sent = _stream(demo_input, recorder, opened.count if opened else None)
    finally:
        shut_down()
    for problem in sent.problems:
        print(f"wildhands: {problem}", file=sys.stderr)
    if not recorder.hands:
        print("wildhands: the node processed no frame: its messages above may say why", file=sys.stderr)
        return 1
    print(summary(sent.frames, recorder.hands, demo_input.labels))
    print(f"overlay    {overlay_path}\nrecording  {recording} (MCAP: Foxglove, ros2 bag play -s mcap)")
    return 0


def _clear_output() -> None:
    """Creates the output folder and removes the results of an earlier run."""
    make_output_folder()
    for name in ("recording", "overlay"):
        shutil.rmtree(OUTPUT / name, ignore_errors=True)
    for name in ("overlay.mp4", "overlay.png"):
        (OUTPUT / name).unlink(missing_ok=True)


def _overlay_name(source: FrameSource | None) -> str:
    if isinstance(source, ImageSource):
        return "overlay.png"
    return "overlay" if isinstance(source, FolderSource) else "overlay.mp4"


def _stream(demo_input: DemoInput, recorder: Recorder, count: int | None) -> SentFrames:
    """Runs the camera process to its end, or until Ctrl-C, and records."""
    # The node and the recorder subscribe to the images.
    command = camera_command(demo_input, "--listeners", "2", "--node-topics", *NODE_TOPICS)
    with child_process(command, stdout=subprocess.PIPE) as publisher:
        with Progress(count, "frame", "node") as progress:
            last, end = (0, 0), time.monotonic()
            while publisher.poll() is None or time.monotonic() < end:
                try:
                    rclpy.spin_once(recorder, timeout_sec=0.1)
                except KeyboardInterrupt:
                    publisher.send_signal(signal.SIGINT)
                progress.show(len(recorder.hands))
                received = len(recorder.hands), recorder.overlays
                if received != last or publisher.poll() is None:
                    last, end = received, time.monotonic() + DRAIN
        sent = read_sent(publisher)
    recorder.hands = [
        replace(hands, received=sent.answered.get(stamp_of(hands.message), hands.received)) for hands in recorder.hands
    ]
    return sent
