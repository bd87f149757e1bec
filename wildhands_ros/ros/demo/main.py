"""`wildhands demo`: a camera process, the node's process and a recorder, over real DDS; a video, a recording and a summary come out."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import rclpy
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from ...evaluation.metrics import mpjpe
from ...io.sources import ASSUMED_FPS, FolderSource, ImageSource, open_source
from ...msg import Hand, HandArray
from ...visualization.overlay_writers import VideoOverlay, overlay_for
from ..isolated_graph import child_process, isolate_graph
from ..share import share_folder
from .recorder import FROM_NODE, ReceivedHands, Recorder

OUTPUT = Path("demo_output")
DRAIN = 1.5
"""Seconds without a further message after which the last one has come."""
SIDES = {Hand.SIDE_RIGHT: "right", Hand.SIDE_LEFT: "left"}


def run_demo(source: str | None) -> int:
    """Runs the node on a video, image folder or camera, or on the clip of this repository, and leaves the results in demo_output/.

    Returns the exit code: 0 when at least one frame came through.

    :raises ValueError: the source cannot be read.
    :raises OSError: the output folder cannot be written.
    """
    calibration = truth = None
    if source is None:
        folder = share_folder("demo")
        source, calibration = str(folder / "clip.mp4"), folder / "camera_info.yaml"
        truth = json.loads((folder / "truth.json").read_text())
    is_camera = source.isdecimal() and not Path(source).exists()
    opened = None if is_camera else open_source(source)
    count = opened.count if opened else None
    recording = OUTPUT / "recording"
    _clear_output()
    overlay_path = OUTPUT / _overlay_name(opened)
    overlay = overlay_for(opened, overlay_path) if opened else VideoOverlay(overlay_path, ASSUMED_FPS)

    isolate_graph()
    # Without rclpy's own handling of Ctrl-C, which would cut the recording off.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        # The recorder first: participants of DDS that come up in the same moment now and then miss each other.
        with overlay, closing(Recorder(recording, overlay.write)) as recorder, _node(calibration is not None):
            sent, problems = _stream(source, calibration, recorder, count)
    finally:
        rclpy.try_shutdown()
    for problem in problems:
        print(f"wildhands: {problem}", file=sys.stderr)
    if not recorder.hands:
        print("wildhands: no frame came through the node: see its messages above", file=sys.stderr)
        return 1
    print(summary(sent, recorder.hands, truth))
    print(f"overlay    {overlay_path}\nrecording  {recording} (MCAP: Foxglove, ros2 bag play -s mcap)")
    return 0


def _clear_output() -> None:
    """Makes the output folder and removes what an earlier run left in it."""
    try:
        OUTPUT.mkdir(exist_ok=True)
        for name in ("recording", "overlay"):
            shutil.rmtree(OUTPUT / name, ignore_errors=True)
        for name in ("overlay.mp4", "overlay.png"):
            (OUTPUT / name).unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot write to {OUTPUT.resolve()}: {error.strerror}; run the demo in a folder of yours"
        ) from error


def summary(sent: list[tuple[int, int]], received: list[ReceivedHands], truth: dict | None) -> str:
    """Figures of a run.

    Args:
        sent: stamp and time of sending of each frame, nanoseconds, in order.
        received: the node's answers.
        truth: what ``wildhands estimate --json`` would ideally give for these frames; None where unknown.
    """
    times = dict(sent)
    answers = [answer for answer in received if _stamp(answer.message) in times]
    ages = [(answer.received - times[_stamp(answer.message)]) / 1e6 for answer in answers]
    hands = sum(len(answer.message.hands) for answer in answers)
    span = (answers[-1].received - answers[0].received) / 1e9 if len(answers) > 1 else 0
    with_hands = sum(bool(answer.message.hands) for answer in answers)
    lines = [
        f"frames     {len(sent)} sent, {len(answers)} processed"
        + (f", {(len(answers) - 1) / span:.1f} per second" if span else ""),
        f"hands      {hands}, in {with_hands} frames",
        f"age        {np.percentile(ages, 50):.0f} ms median, {np.percentile(ages, 95):.0f} ms at the 95th percentile (sent to received)",
    ]
    camera = answers[0].message
    if camera.intrinsics_source == HandArray.INTRINSICS_GUESS:
        lines.append(f"camera     guessed, focal length {camera.k[0]:.0f} px: distances are not metric")
    if truth is not None:
        lines += _errors(
            {_stamp(answer.message): answer.message for answer in answers}, [stamp for stamp, _ in sent], truth
        )
    return "\n".join(lines)


def _errors(answers: dict[int, HandArray], stamps: list[int], truth: dict) -> list[str]:
    """Against the truth of the frames, in their order."""
    relative, absolute, depth = [], [], []
    expected = found = 0
    for stamp, frame in zip(stamps, truth["frames"], strict=False):
        estimates = {SIDES[hand.side]: hand for hand in answers[stamp].hands} if stamp in answers else {}
        for true_hand in frame["hands"]:
            expected += 1
            if true_hand["side"] not in estimates:
                continue
            found += 1
            joints = np.reshape(estimates[true_hand["side"]].joints, (21, 3)).astype(float)
            true_joints = np.array(true_hand["joints"])
            relative.append(1000 * mpjpe(joints, true_joints))
            absolute.append(1000 * np.linalg.norm(joints[0] - true_joints[0]))
            depth.append(100 * abs(joints[0, 2] / true_joints[0, 2] - 1))
    if not found:
        return [f"truth      none of {expected} hands found"]
    return [
        f"truth      {found} of {expected} hands found on the right side",
        f"error      joints {np.mean(relative):.1f} mm root-relative, wrist {np.mean(absolute):.1f} mm, depth {np.mean(depth):.1f} %",
    ]


def _stamp(message: HandArray) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def _overlay_name(source) -> str:
    if isinstance(source, ImageSource):
        return "overlay.png"
    return "overlay" if isinstance(source, FolderSource) else "overlay.mp4"


def _stream(
    source: str, calibration: Path | None, recorder: Recorder, count: int | None
) -> tuple[list[tuple[int, int]], list[str]]:
    """Runs the publisher to its end, recording; Ctrl-C ends it early. Returns what it sent and its source's problems."""
    # The node and the recorder listen to the images.
    command = [
        sys.executable,
        "-m",
        "wildhands_ros.ros.demo.stream_publisher",
        source,
        "--listeners",
        "2",
        "--heard",
        *FROM_NODE,
    ]
    if calibration:
        command += ["--camera-info", str(calibration)]
    with child_process(command, stdout=subprocess.PIPE, text=True) as publisher:
        with tqdm(total=count, unit="frame", desc="node", disable=None) as progress:
            came, end = (0, 0), time.monotonic()
            while publisher.poll() is None or time.monotonic() < end:
                try:
                    rclpy.spin_once(recorder, timeout_sec=0.1)
                except KeyboardInterrupt:
                    publisher.send_signal(signal.SIGINT)
                progress.update(len(recorder.hands) - came[0])
                now = len(recorder.hands), recorder.overlays
                if now != came or publisher.poll() is None:
                    came, end = now, time.monotonic() + DRAIN
        output = publisher.stdout.read()
    if publisher.returncode or not output:
        return [], []
    result = json.loads(output)
    arrivals = dict(result["answered"])
    recorder.hands = [
        replace(hands, received=arrivals.get(_stamp(hands.message), hands.received)) for hands in recorder.hands
    ]
    return [tuple(item) for item in result["sent"]], result["problems"]


@contextmanager
def _node(has_calibration: bool) -> Iterator[None]:
    parameters = {"image_transport": "compressed", "markers_max_rate": "1000.0"}
    parameters["intrinsics"] = "camera_info" if has_calibration else "guess"
    # A robot wants the newest picture, a recording every one.
    parameters |= {f"qos_overrides./hands/{topic}.publisher.depth": "30" for topic in ("debug_image", "markers")}
    arguments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    with child_process([sys.executable, "-m", "wildhands_ros.ros.node", "--ros-args", *arguments]):
        yield
