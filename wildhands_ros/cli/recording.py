"""The subcommands of `wildhands` that make data for learning from demonstrations: record, episode, annotate, export."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .exit_codes import EXIT_INCOMPLETE, EXIT_OK

if TYPE_CHECKING:
    from ..config import EstimatorConfig
    from ..runtime.processes import Workers

Options = Callable[[argparse.ArgumentParser], None]


def add_commands(
    commands,
    camera_options: Options,
    estimator_options: Options,
    estimator_config: Callable[[argparse.Namespace], EstimatorConfig],
) -> None:
    """Adds the subcommands; cameras and estimators are chosen as in the other ones."""
    record = commands.add_parser("record", help="record ROS 2 topics into an MCAP bag, with episodes; Ctrl-C ends it")
    record.add_argument("topics", nargs="*", metavar="TOPIC")
    record.add_argument("--all", action="store_true", help="all topics, as they appear")
    record.add_argument(
        "--output", type=Path, metavar="FOLDER", help="the bag to make; default: recording_ and the time"
    )
    record.set_defaults(run=_record)

    episode = commands.add_parser("episode", help="mark an episode of a running recording").add_subparsers(
        metavar="ACTION", required=True
    )
    begin = episode.add_parser("start", help="what comes now is a demonstration")
    begin.add_argument("task", metavar="TASK", help="what is going to be done, in words")
    begin.set_defaults(action="start", run=_episode)
    for action, text in (
        ("stop", "the demonstration is done"),
        ("discard", "leave out the running episode, or the last one"),
    ):
        episode.add_parser(action, help=text).set_defaults(action=action, task="", run=_episode)

    annotate = commands.add_parser(
        "annotate", help="find the hands in recordings; an interrupted run goes on with the same command"
    )
    annotate.add_argument(
        "inputs", nargs="+", type=Path, metavar="BAG_OR_VIDEO", help="rosbag2 folder, .mcap, .db3, ROS 1 .bag, or video"
    )
    annotate.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="the bag to make of a single input; default: the input's name and _hands",
    )
    annotate.add_argument("--image", default="", metavar="TOPIC", help="topic of the pictures; default: the only one")
    annotate.add_argument(
        "--rectified", action="store_true", help="the bag's pictures are rectified: CameraInfo's P applies"
    )
    annotate.add_argument("--smooth", action="store_true", help="smooth each hand over time, looking both ways")
    camera_options(annotate)
    estimator_options(annotate)
    annotate.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="processes; default: one a core; the hands do not depend on it"
    )
    annotate.add_argument(
        "--ray", metavar="ADDRESS", help="work on a Ray cluster whose machines share the folders (extra ray)"
    )
    annotate.set_defaults(run=lambda args: _annotate(args, estimator_config(args)))

    formats = commands.add_parser("export", help="turn annotated bags into data sets").add_subparsers(
        metavar="FORMAT", required=True
    )
    lerobot = formats.add_parser("lerobot", help="LeRobotDataset v3.0: pictures, hands, actions, tasks")
    lerobot.add_argument("--repo-id", required=True, metavar="NAME", help="the data set's name, such as me/cups")
    lerobot.add_argument(
        "--camera", default="camera", metavar="NAME", help="of observation.images.NAME; default: camera"
    )
    parquet = formats.add_parser("parquet", help="one table of numbers")
    hdf5 = formats.add_parser("hdf5", help="one file of arrays, a group an episode")
    for command, kind in ((lerobot, "lerobot"), (parquet, "parquet"), (hdf5, "hdf5")):
        command.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="recordings with hands")
        command.add_argument(
            "--output", type=Path, metavar="OUT", help="default: the data set's name, or the first bag's"
        )
        command.add_argument(
            "--image", default="", metavar="TOPIC", help="topic of the pictures; default: the only one"
        )
        command.add_argument("--hands", default="/hands", metavar="TOPIC", help="default: /hands")
        command.add_argument(
            "--action",
            nargs="+",
            default=["next"],
            metavar="TOPIC",
            help="topics with the robot's commands; default: 'next', the wrists and pinches of the next frame",
        )
        command.add_argument("--fps", type=int, default=0, metavar="N", help="default: the recording's own rate")
        command.add_argument(
            "--task", default="", metavar="TEXT", help="what is done, for bags without marked episodes"
        )
        command.set_defaults(run=_export, kind=kind)


def _record(args: argparse.Namespace) -> int:
    if bool(args.topics) == args.all:
        raise ValueError("name the topics to record, or give --all")
    from ..ros.recording.record import run

    return run(args.output or Path(time.strftime("recording_%Y_%m_%d-%H_%M_%S")), args.topics, args.all)


def _episode(args: argparse.Namespace) -> int:
    from ..ros.recording.episodes import call

    print(call(args.action, args.task))
    return 0


def _annotate(args: argparse.Namespace, config: EstimatorConfig) -> int:
    if args.output and len(args.inputs) > 1:
        raise ValueError("--output names the bag of a single input; give the inputs one by one")
    if args.jobs < 0:
        raise ValueError(f"{args.jobs} processes cannot work: give --jobs 1 or more")
    if args.ray:
        from ..recording.ray_cluster import ray_workers

        crew = ray_workers(args.ray)
    else:
        from ..runtime.processes import processes
        from ..runtime.threads import available_cpus

        # They import PyTorch and all else that takes long, and so does this one.
        crew = processes(args.jobs or available_cpus(), "wildhands_ros.recording.recording_part")
    with crew as workers:
        return _annotate_by(workers, args, config)


def _annotate_by(workers: Workers, args: argparse.Namespace, config: EstimatorConfig) -> int:
    from .. import __version__
    from ..config import NONE
    from ..estimator import checkpoint_name
    from ..io.camera_files import Intrinsics, load_calibration
    from ..network.checkpoint import checkpoint_path
    from ..network.detector_net import DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR
    from ..ros.recording.annotation import annotate
    from ..ros.recording.image_streams import Choices
    from ..runtime.network import choose

    intrinsics = None
    if args.camera_info or args.fov:
        intrinsics = Intrinsics(load_calibration(args.camera_info) if args.camera_info else None, args.fov)
    # The same on all machines, and other hands where this machine would choose otherwise.
    runtime, precision, device = choose(config.runtime, config.precision, config.device)
    config = replace(config, runtime=runtime, precision=precision, device=device, checkpoint=checkpoint_name(config))
    files = [
        DEFAULT_DETECTOR,
        SECOND_STAGE_DETECTOR,
        *([] if config.checkpoint == NONE else [checkpoint_path(config.checkpoint)]),
    ]
    settings = {
        "version": __version__,
        "weights": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
        "fov": args.fov,
        "camera_info": args.camera_info.read_text() if args.camera_info else None,
    }
    problems = []
    for source in args.inputs:
        output = args.output or source.with_name(f"{source.stem}_hands")
        choices = Choices(args.image, intrinsics, args.rectified, args.smooth)
        problems += annotate(source, output, choices, config, settings, workers)
        print(f"wrote {output}")
    return _report(problems)


def _export(args: argparse.Namespace) -> int:
    from ..recording.demonstrations import ExportConfig, demonstrations
    from ..ros.images import decode

    config = ExportConfig(decode, args.image, args.hands, tuple(args.action), args.fps, args.task)
    found = (episode for bag in args.bags for episode in demonstrations(bag, config))
    if args.kind == "lerobot":
        from ..recording.lerobot_export import export_lerobot

        output = args.output or Path(args.repo_id)
        episodes, frames, notes = export_lerobot(found, output, args.repo_id, args.camera)
    else:
        from ..recording.table_export import export_hdf5, export_parquet

        output = args.output or Path(f"{args.bags[0].stem}.{args.kind}")
        episodes, frames, notes = (export_parquet if args.kind == "parquet" else export_hdf5)(found, output)
    print(f"wrote {output}: {episodes} episodes, {frames} frames")
    return _report(notes)


def _report(problems: list[str]) -> int:
    """Names what is missing; the exit code."""
    for problem in problems:
        print(f"wildhands: {problem}", file=sys.stderr)
    return EXIT_INCOMPLETE if problems else EXIT_OK
