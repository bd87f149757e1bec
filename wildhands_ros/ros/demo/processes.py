"""What the demos run on, and their processes: a camera and the node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..isolated_graph import child_process
from ..share import share_folder
from .summary import SentFrame

OUTPUT = Path("demo_output")


@dataclass(frozen=True)
class DemoInput:
    """What a demo runs on."""

    source: str
    calibration: Path | None = None
    labels: dict[str, Any] | None = None
    """The true hands, in the format of ``wildhands estimate --json``."""


@dataclass(frozen=True)
class SentFrames:
    """What the camera process sent."""

    frames: list[SentFrame]
    answered: dict[int, int]
    """Time of receipt of the hands by stamp, nanoseconds."""
    problems: list[str]


def bundled_clip() -> DemoInput:
    """Returns the clip of this repository, its calibration and its labels."""
    folder = share_folder("demo")
    labels = json.loads((folder / "truth.json").read_text())
    return DemoInput(str(folder / "clip.mp4"), folder / "camera_info.yaml", labels)


def camera_command(demo_input: DemoInput, *arguments: str) -> list[str]:
    """Returns the command of the camera process; ``stream_publisher`` has its arguments."""
    command = [sys.executable, "-m", "wildhands_ros.ros.demo.stream_publisher", demo_input.source, *arguments]
    return [*command, "--camera-info", str(demo_input.calibration)] if demo_input.calibration else command


def read_sent(camera: subprocess.Popen[str]) -> SentFrames:
    """Reads what the camera process, which has ended, printed; nothing if it failed."""
    output = camera.stdout.read() if camera.stdout else ""
    if camera.returncode or not output:
        return SentFrames([], {}, [])
    result = json.loads(output)
    return SentFrames(
        [SentFrame(*frame) for frame in result["sent"]], dict(result["answered"]), list(result["problems"])
    )


def make_output_folder() -> None:
    """Creates the output folder in the current folder.

    Raises:
        OSError: this is not possible; the message says what to do.
    """
    try:
        OUTPUT.mkdir(exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot write to {OUTPUT.resolve()}: {error.strerror}; run the demo in a folder that you can write to"
        ) from error


@contextmanager
def hand_node(has_calibration: bool) -> Iterator[None]:
    """Runs wildhands_node."""
    parameters = {"image_transport": "compressed", "markers_max_rate": "1000.0"}
    parameters["intrinsics"] = "camera_info" if has_calibration else "guess"
    # A robot wants the newest image, a recording wants all of them.
    parameters |= {f"qos_overrides./hands/{topic}.publisher.depth": "30" for topic in ("debug_image", "markers")}
    with child_process(node_command("wildhands_ros.ros.node", parameters)):
        yield


def node_command(module: str, parameters: dict[str, str]) -> list[str]:
    """Returns the command of a node with these parameters."""
    arguments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, "-m", module, "--ros-args", *arguments]
