"""Commands that measure accuracy: ``evaluate``, ``jitter`` and ``ablate``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .exit_codes import EXIT_OK, NO_FIGURES
from .options import (
    add_camera_options,
    add_estimator_options,
    add_workers_option,
    estimator_config,
    intrinsics,
    make_estimator,
)

if TYPE_CHECKING:
    from .options import Subparsers

FRAMES_IN_DETECTION = 200
"""Number of synthetic frames of ``evaluate detection`` without photographs."""


def add_commands(commands: Subparsers) -> None:
    """Adds ``evaluate``, ``jitter`` and ``ablate``."""
    evaluate = commands.add_parser("evaluate", help="measure the accuracy of the estimates")
    evaluate.set_defaults(ends_promptly=True, if_interrupted=NO_FIGURES)
    suites = evaluate.add_subparsers(metavar="SUITE", required=True)
    _add_photos(suites)
    _add_synthetic(suites)
    _add_dataset(suites)
    _add_video(suites)
    _add_depth(suites)
    _add_multiview(suites)
    _add_detection(suites)
    _add_recording(suites)
    _add_jitter(commands)
    _add_ablate(commands)


def _add_photos(suites: Subparsers) -> None:
    photos = suites.add_parser("photos", help="on annotated photographs (COCO-style JSON next to the images)")
    photos.add_argument("input", type=Path, metavar="FOLDER")
    _add_split_option(photos)
    _add_json_option(photos)
    _add_plot_option(photos)
    add_estimator_options(photos)
    photos.set_defaults(run=_evaluate_photos)


def _add_synthetic(suites: Subparsers) -> None:
    synthetic = suites.add_parser("synthetic", help="on the synthetic world, with exact labels")
    synthetic.add_argument(
        "--preset", default="lab", metavar="NAME", help="preset of the world: lab, wild, ...; default: lab"
    )
    synthetic.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    synthetic.add_argument("--count", type=int, default=1000, metavar="N", help="number of images; default: 1000")
    synthetic.add_argument("--seed", type=int, default=0, help="default: 0, as in the public benchmark")
    _add_json_option(synthetic)
    _add_plot_option(synthetic)
    add_estimator_options(synthetic)
    synthetic.set_defaults(run=_evaluate_synthetic)


def _add_dataset(suites: Subparsers) -> None:
    dataset = suites.add_parser("dataset", help="on a real dataset in its published format")
    dataset.add_argument("name", metavar="NAME", help="arctic, h2o, freihand, ...; an unknown name lists all")
    dataset.add_argument("input", type=Path, metavar="ROOT", help="folder of the dataset")
    dataset.add_argument("--split", help="default: the dataset's test split")
    dataset.add_argument("--count", type=int, metavar="N", help="evaluate N images, evenly spread; default: all images")
    _add_json_option(dataset)
    _add_plot_option(dataset)
    add_estimator_options(dataset)
    dataset.set_defaults(run=_evaluate_dataset)


def _add_video(suites: Subparsers) -> None:
    video = suites.add_parser(
        "video", help="on a video without labels: share of frames with hands, reprojection error, jitter, speed"
    )
    video.add_argument("input", type=Path, metavar="FILE")
    _add_json_option(video)
    add_estimator_options(video)
    add_camera_options(video)
    video.set_defaults(run=_evaluate_video)


def _add_depth(suites: Subparsers) -> None:
    depth = suites.add_parser(
        "depth", help="what a depth camera adds, on the synthetic world, and what damaged depth images cost"
    )
    depth.add_argument("--count", type=int, default=200, metavar="N", help="number of images; default: 200")
    depth.add_argument("--seed", type=int, default=0, help="default: 0, as in the public benchmark")
    depth.add_argument(
        "--fists",
        action="store_true",
        help="instead: two hands that close to a fist and open within 0.2 s: by how much their distance swings",
    )
    _add_json_option(depth)
    add_estimator_options(depth)
    depth.set_defaults(run=_evaluate_depth)


def _add_multiview(suites: Subparsers) -> None:
    multiview = suites.add_parser("multiview", help="what several calibrated cameras add, on the synthetic world")
    multiview.add_argument("--views", type=int, default=2, metavar="N", help="number of cameras; default: 2")
    multiview.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    multiview.add_argument("--count", type=int, default=200, metavar="N", help="number of scenes; default: 200")
    multiview.add_argument("--seed", type=int, default=0, help="default: 0, as in the public benchmark")
    multiview.add_argument(
        "--clip",
        type=Path,
        metavar="VIDEO",
        help="instead: the clip of the demo over time, beside which a second camera is rendered: errors of tracks, the "
        "learned length, and whether wrong extrinsics are noticed within 5 s",
    )
    multiview.add_argument(
        "--rigs",
        type=int,
        metavar="N",
        help="instead: N recordings of hands that work, by three cameras at rest, by colour and with depth: errors, "
        "lengths and wrong extrinsics after 5 s, and time of the fusion; about a minute of CPU time each",
    )
    multiview.add_argument(
        "--step", type=int, default=3, metavar="N", help="with --clip: every n-th frame is estimated; default: 3"
    )
    _add_json_option(multiview)
    add_estimator_options(multiview)
    multiview.set_defaults(run=_evaluate_multiview)


def _add_detection(suites: Subparsers) -> None:
    detection = suites.add_parser("detection", help="compare detectors on annotated photographs or synthetic frames")
    detection.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="photographs with COCO-style boxes of their hands, or a folder of such folders",
    )
    detection.add_argument("--boxes", type=Path, metavar="JSON", help="the boxes, if they are not in the folder")
    _add_split_option(detection)
    detection.add_argument(
        "--limit", type=int, metavar="N", help="at most N photographs of each folder, always the same; default: all"
    )
    detection.add_argument(
        "--count",
        type=int,
        metavar="N",
        help=f"number of synthetic frames; default: {FRAMES_IN_DETECTION}, or none with --photos",
    )
    detection.add_argument("--seed", type=int, default=0, help="default: 0, as in the public benchmark")
    detection.add_argument(
        "--detectors",
        nargs="+",
        default=["mediapipe", "own", "auto"],
        metavar="NAME",
        help="default: mediapipe own auto",
    )
    detection.add_argument(
        "--max-hands",
        type=int,
        metavar="N",
        help="maximum number of hands per image; default: all (in practice 50), and 8 in videos",
    )
    _add_json_option(detection)
    detection.add_argument(
        "--picture",
        type=Path,
        metavar="OUT",
        help="plot precision over recall and the reliability of the scores, as .png, .svg or .pdf",
    )
    add_workers_option(detection)
    detection.set_defaults(run=_evaluate_detection)


def _add_recording(suites: Subparsers) -> None:
    recording = suites.add_parser(
        "recording", help="annotate synthetic recordings of a moving camera and compare with the truth"
    )
    recording.add_argument("--count", type=int, default=3, metavar="N", help="number of recordings; default: 3")
    recording.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="duration of each recording; default: 10"
    )
    recording.add_argument("--split", default="test", choices=("train", "val", "test"), help="default: test")
    recording.add_argument("--smooth", action="store_true", help="as of wildhands annotate")
    recording.add_argument("--depth", action="store_true", help="recordings with the images of a depth camera")
    recording.add_argument("--known-length", action="store_true", help="give the length of the hands")
    _add_json_option(recording)
    add_estimator_options(recording)
    recording.set_defaults(run=_evaluate_recording)


def _add_jitter(commands: Subparsers) -> None:
    jitter = commands.add_parser(
        "jitter", help="measure the jitter of hands in a video, per frame and smoothed, and the lag of smoothing"
    )
    jitter.add_argument("input", type=Path, metavar="VIDEO")
    _add_json_option(jitter)
    add_camera_options(jitter)
    add_estimator_options(jitter)
    jitter.set_defaults(run=_jitter, ends_promptly=True, if_interrupted=NO_FIGURES)


def _add_ablate(commands: Subparsers) -> None:
    ablate = commands.add_parser("ablate", help="train and compare small networks, each without one part of the method")
    ablate.add_argument(
        "--minutes",
        type=float,
        default=60,
        metavar="M",
        help="approximate time for all rows with 3 seeds on two cores; default: 60",
    )
    ablate.add_argument("--seeds", type=int, default=3, metavar="K", help="runs per row; default: 3")
    ablate.add_argument(
        "--rows", nargs="+", default=[], metavar="NAME", help="sparse, no_kpe, no_mask, dense, ...; default: all"
    )
    ablate.add_argument("--json", type=Path, metavar="OUT", help="write means and standard deviations")
    ablate.add_argument("--table", type=Path, metavar="OUT", help="write the tables in the format of docs/ablations.md")
    ablate.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="keeps intermediate results; default: the user's cache folder"
    )
    add_workers_option(ablate)
    kept = "finished runs are kept: run the same command again to resume"
    ablate.set_defaults(run=_ablate, ends_promptly=True, if_interrupted=kept)


def _add_split_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split",
        default="all",
        choices=("train", "validation", "test", "all"),
        help="scenes of the photographs, where they are divided; default: all",
    )


def _add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the figures to a file")


def _add_plot_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--picture", type=Path, metavar="OUT", help="plot the distribution of the errors, as .png, .svg or .pdf"
    )


def _evaluate_photos(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_photo_folder

    return evaluate_photo_folder(make_estimator(args), args.input, args.json, args.picture, args.split)


def _evaluate_synthetic(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_synthetic

    return evaluate_synthetic(
        make_estimator(args), args.preset, args.split, args.seed, args.count, args.json, args.picture
    )


def _evaluate_dataset(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_dataset

    return evaluate_dataset(
        make_estimator(args), args.name, args.input, args.split, args.count, args.json, args.picture
    )


def _evaluate_video(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_video_file

    return evaluate_video_file(make_estimator(args), args.input, intrinsics(args), args.json)


def _evaluate_depth(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_closing_fists, evaluate_with_depth

    if args.fists:
        return evaluate_closing_fists(args.json)
    return evaluate_with_depth(make_estimator(args), args.seed, args.count, args.json)


def _evaluate_multiview(args: argparse.Namespace) -> int:
    from ..evaluation.main import evaluate_rig_recordings, evaluate_several_views, evaluate_views_over_time

    if args.rigs is not None:
        return evaluate_rig_recordings(args.seed, args.rigs, args.split, args.json)
    if args.clip is not None:
        return evaluate_views_over_time(args.clip, args.step, args.json)
    return evaluate_several_views(make_estimator(args), args.views, args.seed, args.count, args.split, args.json)


def _evaluate_detection(args: argparse.Namespace) -> int:
    from ..evaluation.detection import DetectionOptions, evaluate_detection

    count = args.count if args.count is not None else 0 if args.photos else FRAMES_IN_DETECTION
    options = DetectionOptions(
        photos=args.photos,
        boxes=args.boxes,
        split=args.split,
        limit=args.limit,
        count=count,
        seed=args.seed,
        detectors=args.detectors,
        max_hands=args.max_hands,
        workers=args.workers,
    )
    return evaluate_detection(options, args.json, args.picture)


def _evaluate_recording(args: argparse.Namespace) -> int:
    from ..recording.refinement import RefinementOptions
    from ..ros.recording.evaluation import evaluate_recordings
    from ..ros.recording.image_streams import AnnotationOptions
    from ..runtime.processes import processes
    from ..runtime.threads import available_cpus

    if args.count < 1 or not args.seconds > 0:
        raise ValueError(f"--count and --seconds must be positive, not {args.count} and {args.seconds:g}")
    options = AnnotationOptions(refinement=RefinementOptions(smooth=args.smooth))
    with processes(available_cpus(), "wildhands_ros.recording.estimation") as workers:
        evaluate_recordings(
            args.count,
            args.seconds,
            args.split,
            options,
            estimator_config(args),
            workers,
            args.json,
            args.depth,
            args.known_length,
        )
    return EXIT_OK


def _jitter(args: argparse.Namespace) -> int:
    from ..evaluation.main import measure_video_jitter

    return measure_video_jitter(make_estimator(args), args.input, intrinsics(args), args.json)


def _ablate(args: argparse.Namespace) -> int:
    from ..evaluation.ablation.main import AblationSize, run
    from ..io.paths import cache_folder

    folder = args.cache or cache_folder() / "ablation"
    return run(
        AblationSize.for_minutes(args.minutes), args.seeds, args.rows, folder, args.workers, args.json, args.table
    )
