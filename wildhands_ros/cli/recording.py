"""Commands that make data for imitation learning: ``record``, ``episode``, ``annotate``, ``report`` and ``export``."""

from __future__ import annotations

import argparse
import hashlib
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.progress import LOADING, busy, say
from .exit_codes import EXIT_OK, report_problems
from .options import add_camera_options, add_estimator_options, estimator_config, intrinsics

if TYPE_CHECKING:
    from ..config import EstimatorConfig
    from ..recording.camera_poses import PoseOptions
    from ..recording.refinement import RefinementOptions
    from ..ros.recording.depth_streams import DepthOptions
    from ..ros.recording.image_streams import RigOptions
    from ..runtime.processes import Workers
    from .options import Subparsers


def add_commands(commands: Subparsers) -> None:
    """Adds ``record``, ``episode``, ``annotate``, ``report`` and ``export``."""
    _add_record(commands)
    _add_episode(commands)
    _add_annotate(commands)
    _add_report(commands)
    _add_export(commands)


def _add_record(commands: Subparsers) -> None:
    record = commands.add_parser(
        "record", help="record ROS 2 topics to an MCAP bag, with marked episodes; stop with Ctrl-C"
    )
    record.add_argument("topics", nargs="*", metavar="TOPIC")
    record.add_argument("--all", action="store_true", help="record all topics, also those that appear later")
    record.add_argument(
        "--output", type=Path, metavar="FOLDER", help="the new bag; default: recording_ and the current time"
    )
    record.set_defaults(run=_record, needs_middleware=True)


def _add_episode(commands: Subparsers) -> None:
    actions = commands.add_parser("episode", help="mark an episode of a running recording").add_subparsers(
        metavar="ACTION", required=True
    )
    start = actions.add_parser("start", help="start an episode")
    start.add_argument("task", metavar="TASK", help="what is demonstrated, in words")
    start.set_defaults(action="start", run=_episode, needs_middleware=True)
    for action, text in (("stop", "stop the episode"), ("discard", "discard the running episode, or the last one")):
        actions.add_parser(action, help=text).set_defaults(action=action, task="", run=_episode, needs_middleware=True)


def _add_annotate(commands: Subparsers) -> None:
    annotate = commands.add_parser(
        "annotate", help="estimate the hands in recordings; run the same command again to resume"
    )
    annotate.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        metavar="BAG_OR_VIDEO",
        help="rosbag2 folder, .mcap, .db3, ROS 1 .bag, or video file",
    )
    annotate.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="the new bag, for a single input; default: the name of the input and _hands",
    )
    annotate.add_argument("--image", default="", metavar="TOPIC", help="image topic; default: the only one in the bag")
    annotate.add_argument(
        "--rectified", action="store_true", help="the images in the bag are rectified: use P of CameraInfo, not K and D"
    )
    annotate.add_argument(
        "--smooth", action="store_true", help="smooth each hand over time, using past and future frames"
    )
    annotate.add_argument(
        "--max-gap",
        type=float,
        default=0.3,
        metavar="SECONDS",
        help="interpolate gaps up to this length, and mark that; longer gaps stay empty; default: 0.3",
    )
    _add_rig_options(annotate)
    _add_depth_options(annotate)
    _add_pose_options(annotate)
    _add_quality_options(annotate)
    add_camera_options(annotate)
    add_estimator_options(annotate)
    annotate.add_argument(
        "--jobs",
        type=int,
        default=0,
        metavar="N",
        help="number of processes, which does not change the result; default: one per core",
    )
    annotate.add_argument(
        "--ray", metavar="ADDRESS", help="run on a Ray cluster whose machines share the folders (needs ray)"
    )
    kept = "finished segments are kept: run the same command again to resume"
    annotate.set_defaults(run=_annotate, ends_promptly=True, if_interrupted=kept)


def _add_rig_options(annotate: argparse.ArgumentParser) -> None:
    rig = annotate.add_argument_group("several cameras", "hands are fused as by wildhands_fusion (docs/fusion.md)")
    rig.add_argument(
        "--cameras",
        nargs="+",
        default=[],
        metavar="NAME[=TOPIC]",
        help="the cameras, the main one first, whose images get the hands; default of TOPIC: the only images in the "
        "namespace NAME",
    )
    rig.add_argument(
        "--extrinsics",
        type=Path,
        metavar="FILE",
        help="poses of the cameras, as calibrate-cameras writes them; default: TF in the bag",
    )


def _add_depth_options(annotate: argparse.ArgumentParser) -> None:
    from ..config import DEPTH_SENSORS

    depth = annotate.add_argument_group("depth camera", "as the parameters of the node (docs/depth.md)")
    depth.add_argument(
        "--depth",
        default="auto",
        metavar="TOPIC",
        help="depth images, aligned or not; default: auto, the topic beside the images, if there is one; off: none",
    )
    depth.add_argument(
        "--depth-tolerance",
        type=float,
        default=0.02,
        metavar="SECONDS",
        help="largest difference between the stamps of an image and of its depth image; default: 0.02",
    )
    depth.add_argument(
        "--depth-sensor",
        default=DEPTH_SENSORS[0],
        choices=DEPTH_SENSORS,
        help=f"noise model of the depth camera; default: {DEPTH_SENSORS[0]}",
    )
    depth.add_argument(
        "--depth-noise-scale",
        type=_positive,
        default=1.0,
        metavar="X",
        help="factor on the standard deviation of the noise model; default: 1",
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _add_pose_options(annotate: argparse.ArgumentParser) -> None:
    from ..config import POSE_AXES, POSE_FORMATS

    poses = annotate.add_argument_group(
        "pose of the camera", "hands are also written in a fixed frame, and smoothed there, if one of these is given"
    )
    poses.add_argument(
        "--frame", default="", metavar="NAME", help="the fixed frame, such as odom; poses are taken from TF in the bag"
    )
    poses.add_argument(
        "--camera-poses",
        default="",
        metavar="TOPIC_OR_FILE",
        help="poses or odometry in the bag, or a file (TUM, KITTI, COLMAP; tables of Aria, HOT3D, Stray Scanner), "
        "instead of TF",
    )
    poses.add_argument(
        "--pose-format",
        default="",
        choices=("", *POSE_FORMATS),
        metavar="NAME",
        help=f"{', '.join(POSE_FORMATS)}; default: recognised by the file's content",
    )
    poses.add_argument(
        "--pose-axes",
        default=POSE_AXES[0],
        choices=POSE_AXES,
        help="axes of the camera in the poses: optical (z forward) or graphics (z backward, y up: ARKit, ARCore, "
        "OpenGL); default: optical",
    )
    poses.add_argument(
        "--pose-mount",
        type=float,
        nargs=7,
        default=(),
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="pose of the camera in the device whose poses are given; default: they are those of the camera",
    )
    poses.add_argument(
        "--pose-offset", type=float, default=0.0, metavar="SECONDS", help="added to the times of the poses; default: 0"
    )


def _add_quality_options(annotate: argparse.ArgumentParser) -> None:
    from ..config import QualityThresholds

    quality = annotate.add_argument_group("quality", "when an estimate is doubted, and therefore not usable")
    for each in fields(QualityThresholds):
        quality.add_argument(
            f"--{each.name.replace('_', '-')}",
            type=float,
            default=each.default,
            metavar="X",
            help=f"{each.metadata['help']}; default: {each.default}",
        )


def _add_report(commands: Subparsers) -> None:
    report = commands.add_parser("report", help="write how good the hands of annotated recordings are, as HTML")
    report.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="annotated recordings")
    report.add_argument(
        "--output", type=Path, metavar="HTML", help="the new file; default: the name of the first bag and .html"
    )
    report.set_defaults(run=_report, ends_promptly=True, if_interrupted="no report was written")


def _add_export(commands: Subparsers) -> None:
    formats = commands.add_parser("export", help="convert annotated bags to datasets").add_subparsers(
        metavar="FORMAT", required=True
    )
    lerobot = formats.add_parser("lerobot", help="LeRobotDataset v3.0: images, hands, actions, tasks")
    lerobot.add_argument("--repo-id", required=True, metavar="NAME", help="name of the dataset, such as me/cups")
    lerobot.add_argument(
        "--camera",
        default="camera",
        metavar="NAME",
        help="NAME of the feature observation.images.NAME; default: camera",
    )
    lerobot.add_argument(
        "--depth", default="", metavar="TOPIC", help="also export these depth images, as uint16 millimetres"
    )
    parquet = formats.add_parser("parquet", help="one table, without images")
    hdf5 = formats.add_parser("hdf5", help="one file of arrays with a group per episode, without images")
    egodex = formats.add_parser("egodex", help="a folder with an HDF5 file, as of EgoDex, and a video per episode")
    for command, kind in ((lerobot, "lerobot"), (parquet, "parquet"), (hdf5, "hdf5"), (egodex, "egodex")):
        command.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="annotated recordings")
        command.add_argument(
            "--output", type=Path, metavar="OUT", help="default: the name of the dataset, or of the first bag"
        )
        command.add_argument(
            "--image", default="", metavar="TOPIC", help="image topic; default: the only one in the bag"
        )
        command.add_argument("--hands", default="/hands", metavar="TOPIC", help="default: /hands")
        command.add_argument(
            "--action",
            nargs="+",
            default=["next"],
            metavar="TOPIC",
            help="topics of robot commands; default: 'next', the wrist poses and pinch distances of the next frame",
        )
        command.add_argument(
            "--fps", type=int, default=0, metavar="N", help="frame rate; default: that of the recording"
        )
        command.add_argument("--task", default="", metavar="TEXT", help="task of bags without marked episodes")
        command.set_defaults(
            run=_export, kind=kind, ends_promptly=True, if_interrupted="no demonstrations were written"
        )
    mano = formats.add_parser("mano", help="parameters of MANO fitted to the open hands, for those who have its files")
    mano.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="annotated recordings")
    mano.add_argument("--mano", required=True, metavar="FOLDER", help="folder with MANO_RIGHT and MANO_LEFT")
    mano.add_argument(
        "--output", type=Path, metavar="NPZ", help="the new file; default: the name of the first bag and .mano.npz"
    )
    mano.add_argument("--hands", default="/hands", metavar="TOPIC", help="/hands or /hands/world; default: /hands")
    mano.set_defaults(run=_export_mano, ends_promptly=True, if_interrupted="nothing was written")


def _record(args: argparse.Namespace) -> int:
    if bool(args.topics) == args.all:
        raise ValueError("name the topics to record, or give --all")
    from ..ros.recording.record import run

    return run(args.output or Path(time.strftime("recording_%Y_%m_%d-%H_%M_%S")), args.topics, args.all)


def _episode(args: argparse.Namespace) -> int:
    from ..ros.recording.episodes import call

    say(call(args.action, args.task))
    return EXIT_OK


def _annotate(args: argparse.Namespace) -> int:
    if args.output and len(args.inputs) > 1:
        raise ValueError("--output names the bag of a single input; annotate the inputs one by one")
    if args.jobs < 0:
        raise ValueError(f"--jobs must be 1 or more, not {args.jobs}")
    if args.ray:
        from ..recording.ray_cluster import ray_workers

        pool = ray_workers(args.ray)
    else:
        from ..runtime.processes import processes
        from ..runtime.threads import available_cpus

        # The workers import PyTorch and the rest of this module while this process does the same.
        pool = processes(args.jobs or available_cpus(), "wildhands_ros.recording.estimation")
    with pool as workers:
        return _annotate_with(workers, args)


def _annotate_with(workers: Workers, args: argparse.Namespace) -> int:
    from ..ros.recording.annotation import annotate
    from ..ros.recording.image_streams import AnnotationOptions

    camera = intrinsics(args) if args.camera_info or args.fov else None
    options = AnnotationOptions(
        image_topic=args.image,
        intrinsics=camera,
        rectified=args.rectified,
        depth=_depth_options(args),
        poses=_pose_options(args),
        refinement=_refinement_options(args),
        rig=_rig_options(args),
    )
    with busy(LOADING):
        config = _resolved(estimator_config(args))
    settings = _settings(args, config)
    problems = []
    for source in args.inputs:
        output = args.output or source.with_name(f"{source.stem}_hands")
        problems += annotate(source, output, options, config, settings, workers)
        say(f"wrote {output}")
    return report_problems(problems)


def _rig_options(args: argparse.Namespace) -> RigOptions | None:
    from ..ros.recording.image_streams import RigOptions

    if not args.cameras:
        if args.extrinsics:
            raise ValueError("--extrinsics needs --cameras with the names of at least two cameras")
        return None
    cameras = dict(text.partition("=")[::2] for text in args.cameras)
    if len(cameras) < 2 or len(cameras) < len(args.cameras) or "" in cameras:
        raise ValueError("--cameras needs at least two distinct names")
    if args.image or args.camera_info or args.fov:
        raise ValueError("--cameras cannot be combined with --image, --camera-info or --fov: each camera has its own")
    if args.no_fit:
        raise ValueError("--cameras fits one hand to all images, which --no-fit excludes")
    return RigOptions(cameras, args.extrinsics)


def _depth_options(args: argparse.Namespace) -> DepthOptions:
    from ..ros.recording.depth_streams import DepthOptions

    return DepthOptions(args.depth, args.depth_tolerance, args.depth_sensor, args.depth_noise_scale)


def _pose_options(args: argparse.Namespace) -> PoseOptions:
    from ..io.trajectories.files import TrajectoryOptions
    from ..recording.camera_poses import PoseOptions

    trajectory = TrajectoryOptions(args.pose_format, args.pose_axes, tuple(args.pose_mount), args.pose_offset)
    return PoseOptions(args.frame, args.camera_poses, trajectory)


def _refinement_options(args: argparse.Namespace) -> RefinementOptions:
    from ..config import QualityThresholds
    from ..recording.refinement import RefinementOptions

    thresholds = QualityThresholds(*(getattr(args, each.name) for each in fields(QualityThresholds)))
    return RefinementOptions(args.smooth, args.max_gap, thresholds)


def _resolved(config: EstimatorConfig) -> EstimatorConfig:
    """Replaces "auto" by what this machine chooses, so that all machines of a cluster compute the same."""
    from ..config import NONE
    from ..estimator import checkpoint_name
    from ..network.network_file import DEFAULT_NAME, open_network
    from ..runtime.network import choose

    checkpoint = checkpoint_name(config)
    # Without a checkpoint, only the bundled landmark network runs.
    network = open_network(DEFAULT_NAME if checkpoint == NONE else checkpoint)
    runtime, precision, device = choose(network, config.runtime, config.precision, config.device)
    return replace(config, runtime=runtime, precision=precision, device=device, checkpoint=checkpoint)


def _settings(args: argparse.Namespace, config: EstimatorConfig) -> dict[str, object]:
    """Returns what the hands depend on besides input and ``config``. Work with other settings is not resumed."""
    from .. import __version__
    from ..config import NONE
    from ..network.network_file import DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR, checkpoint_path

    weights = [DEFAULT_DETECTOR, SECOND_STAGE_DETECTOR]
    if config.checkpoint != NONE:
        weights.append(checkpoint_path(config.checkpoint))
    return {
        "version": __version__,
        "weights": [hashlib.sha256(file.read_bytes()).hexdigest() for file in weights],
        "fov": args.fov,
        "camera_info": args.camera_info.read_text() if args.camera_info else None,
    }


def _report(args: argparse.Namespace) -> int:
    from ..ros.recording.report import write_reports

    output = args.output or Path(f"{args.bags[0].name}.html")
    for sentence in write_reports(args.bags, output):
        say(sentence)
    say(f"wrote {output}")
    return EXIT_OK


def _export_mano(args: argparse.Namespace) -> int:
    from ..recording.mano_export import export_mano

    output = args.output or Path(f"{args.bags[0].stem}.mano.npz")
    summary = export_mano(args.bags, args.hands, args.mano, output)
    say(f"wrote {output}: {summary.hands} hands")
    say(
        f"vertices of MANO lie {1e3 * summary.vertex_error:.2f} mm from the open hand's surface, "
        f"{1e3 * summary.worst:.2f} mm in the worst hand"
    )
    return EXIT_OK


def _export(args: argparse.Namespace) -> int:
    from ..recording.demonstrations import ExportConfig, demonstrations
    from ..ros.images import decode

    config = ExportConfig(decode, args.image, args.hands, tuple(args.action), args.fps, args.task)
    if args.kind == "lerobot" and args.depth:
        from ..ros.depth_images import depth_millimetres

        config = replace(config, depth=args.depth, decode_depth=depth_millimetres)
    found = (demonstration for bag in args.bags for demonstration in demonstrations(bag, config))
    output = args.output or Path(args.repo_id if args.kind == "lerobot" else f"{args.bags[0].stem}.{args.kind}")
    if args.kind == "lerobot":
        from ..recording.lerobot_export import export_lerobot

        summary = export_lerobot(found, output, args.repo_id, args.camera)
    elif args.kind == "egodex":
        from ..recording.egodex_export import export_egodex

        summary = export_egodex(found, output)
    else:
        from ..recording.table_export import export_hdf5, export_parquet

        summary = (export_parquet if args.kind == "parquet" else export_hdf5)(found, output)
    say(f"wrote {output}: {summary.episodes} episodes, {summary.frames} frames")
    return report_problems(summary.notes)
