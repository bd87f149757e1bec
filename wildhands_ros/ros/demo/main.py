"""``wildhands demo``: runs a camera process, the node's process and a recorder over DDS.

It leaves a video with the hands drawn on it and a recording, and prints a summary.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from ...io.sources import ASSUMED_FPS, FolderSource, FrameSource, ImageSource, open_source
from ...visualization.overlay_writers import VideoOverlay, overlay_for
from ..isolated_graph import child_process, isolate_graph
from ..share import share_folder
from .recorder import NODE_TOPICS, Recorder, stamp_of
from .summary import SentFrame, summary

OUTPUT = Path("demo_output")
DRAIN = 1.5
"""Seconds without a message after which the recording ends."""


@dataclass(frozen=True)
class _Input:
    """What the demo runs on."""

    source: str
    calibration: Path | None = None
    labels: dict[str, Any] | None = None
    """The true hands, in the format of ``wildhands estimate --json``."""


@dataclass(frozen=True)
class _Sent:
    """What the camera process sent."""

    frames: list[SentFrame]
    problems: list[str]


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
    demo_input = _bundled_clip() if source is None else _Input(source)
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
            _node(demo_input.calibration is not None),
        ):
            sent = _stream(demo_input, recorder, opened.count if opened else None)
    finally:
        rclpy.try_shutdown()
    for problem in sent.problems:
        print(f"wildhands: {problem}", file=sys.stderr)
    if not recorder.hands:
        print("wildhands: the node processed no frame: its messages above may say why", file=sys.stderr)
        return 1
    print(summary(sent.frames, recorder.hands, demo_input.labels))
    print(f"overlay    {overlay_path}\nrecording  {recording} (MCAP: Foxglove, ros2 bag play -s mcap)")
    return 0


def _bundled_clip() -> _Input:
    folder = share_folder("demo")
    labels = json.loads((folder / "truth.json").read_text())
    return _Input(str(folder / "clip.mp4"), folder / "camera_info.yaml", labels)


def _clear_output() -> None:
    """Creates the output folder and removes the results of an earlier run."""
    try:
        OUTPUT.mkdir(exist_ok=True)
        for name in ("recording", "overlay"):
            shutil.rmtree(OUTPUT / name, ignore_errors=True)
        for name in ("overlay.mp4", "overlay.png"):
            (OUTPUT / name).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot write to {OUTPUT.resolve()}: {error.strerror}; run the demo in a folder that you can write to"
        ) from error


def _overlay_name(source: FrameSource | None) -> str:
    if isinstance(source, ImageSource):
        return "overlay.png"
    return "overlay" if isinstance(source, FolderSource) else "overlay.mp4"


def _stream(demo_input: _Input, recorder: Recorder, count: int | None) -> _Sent:
    """Runs the camera process to its end, or until Ctrl-C, and records."""
    command = [sys.executable, "-m", "wildhands_ros.ros.demo.stream_publisher", demo_input.source]
    # The node and the recorder subscribe to the images.
    command += ["--listeners", "2", "--node-topics", *NODE_TOPICS]
    if demo_input.calibration:
        command += ["--camera-info", str(demo_input.calibration)]
    with child_process(command, stdout=subprocess.PIPE) as publisher:
        with tqdm(total=count, unit="frame", desc="node", disable=None) as progress:
            last, end = (0, 0), time.monotonic()
            while publisher.poll() is None or time.monotonic() < end:
                try:
                    rclpy.spin_once(recorder, timeout_sec=0.1)
                except KeyboardInterrupt:
                    publisher.send_signal(signal.SIGINT)
                progress.update(len(recorder.hands) - last[0])
                received = len(recorder.hands), recorder.overlays
                if received != last or publisher.poll() is None:
                    last, end = received, time.monotonic() + DRAIN
        output = publisher.stdout.read() if publisher.stdout else ""
    if publisher.returncode or not output:
        return _Sent([], [])
    result = json.loads(output)
    arrivals = dict(result["answered"])
    recorder.hands = [
        replace(hands, received=arrivals.get(stamp_of(hands.message), hands.received)) for hands in recorder.hands
    ]
    return _Sent([SentFrame(*frame) for frame in result["sent"]], result["problems"])


@contextmanager
def _node(has_calibration: bool) -> Iterator[None]:
    parameters = {"image_transport": "compressed", "markers_max_rate": "1000.0"}
    parameters["intrinsics"] = "camera_info" if has_calibration else "guess"
    # A robot wants the newest image, a recording wants all of them.
    parameters |= {f"qos_overrides./hands/{topic}.publisher.depth": "30" for topic in ("debug_image", "markers")}
    arguments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    with child_process([sys.executable, "-m", "wildhands_ros.ros.node", "--ros-args", *arguments]):
        yield
