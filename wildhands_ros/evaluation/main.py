"""Implements ``wildhands evaluate``: reads the inputs, prints a table, writes JSON and a plot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..datasets.coco_hands import read_coco_hands
from ..datasets.real_images.reader import ALL as ALL_SPLITS
from ..datasets.real_images.reader import is_boxed, read_boxed_images
from ..estimator import Estimator
from ..geometry.camera import Camera
from ..io.camera_files import Intrinsics
from ..io.files import OutputFile
from ..io.images import InputError
from ..io.progress import warn, with_progress
from ..io.sources import VideoSource
from ..types import Grasp
from .figures import Figures
from .jitter import describe_jitter, measure_jitter
from .keypoints import PCK_LIMITS, compare_keypoints, hands_with_keypoints
from .suite import Evaluation, evaluate_images
from .video import evaluate_video

T = TypeVar("T")


def evaluate_photo_folder(
    estimator: Estimator, folder: Path, json_path: Path | None, plot_path: Path | None = None, split: str = ALL_SPLITS
) -> int:
    """Evaluate on annotated photographs with keypoints, and compare these with MediaPipe's.

    Args:
        estimator: The estimator to measure.
        folder: Photographs with COCO-style keypoints, or sources of boxed images for which there are keypoints.
        json_path: File for the figures, with those of ``compare_keypoints`` in ``keypoints_by_source``.
        plot_path: File for the plot of the error distributions.
        split: Split of the scenes of boxed images, or "all".

    Returns:
        The exit code.
    """
    given: tuple[str, ...] = ("keypoints", "boxes", "images")
    if is_boxed(folder):
        boxed = read_boxed_images(folder, split=split)
        for line in boxed.report():
            warn(line)
        labelled = hands_with_keypoints(boxed.images)
        given = given[:2]  # ``evaluate detection`` measures what is found in these images
    else:
        labelled = read_coco_hands(folder)
    with outputs(json_path, plot_path) as files:
        evaluation = evaluate_images(
            estimator,
            with_progress(labelled, len(labelled), "image"),
            f"photos {folder.name}",
            given=given,
            two_hands=False,
            warn=warn,
        )
        try:
            by_source = compare_keypoints(estimator, with_progress(labelled, len(labelled), "image"))
        except ImportError as error:
            warn(f"keypoints are not compared with MediaPipe's: {error}")
            by_source = {}
        for source, methods in by_source.items():
            print(f"2D keypoints in true boxes, {source}: % of the box (PCK at {PCK_LIMITS[0]} %)")
            for name, row in methods.items():
                print(
                    f"{name:>26}  {text(row['l2_box_percent'])} ({text(row[f'pck_{PCK_LIMITS[0]}'])}), "
                    f"{row['found']} of {row['hands']} hands"
                )
        return _report(evaluation, *files, {"keypoints_by_source": by_source})


def evaluate_synthetic(
    estimator: Estimator,
    preset: str,
    split: str,
    seed: int,
    count: int,
    json_path: Path | None,
    plot_path: Path | None = None,
) -> int:
    """Evaluate on the first ``count`` images of a synthetic world's split. Returns the exit code."""
    from ..synthetic.config import VERSION
    from .synthetic import world_images

    images = with_progress(world_images(preset, split, seed, count), count, "image")
    suite = f"synthetic world {preset} (version {VERSION}), split {split}, seed {seed}"
    with outputs(json_path, plot_path) as files:
        return _report(evaluate_images(estimator, images, suite, warn=warn), *files)


def evaluate_dataset(
    estimator: Estimator,
    name: str,
    root: Path,
    split: str | None,
    count: int | None,
    json_path: Path | None,
    plot_path: Path | None = None,
) -> int:
    """Evaluate on a real dataset, named as in ``datasets.DATASETS``. Returns the exit code."""
    from ..datasets import DATASETS, open_dataset
    from .real import dataset_images, default_split

    split = split or (default_split(DATASETS[name]) if name in DATASETS else "")
    dataset = open_dataset(name, root, split)
    images = with_progress(dataset_images(dataset, count), min(count or len(dataset), len(dataset)), "image")
    with outputs(json_path, plot_path) as files:
        evaluation = evaluate_images(estimator, images, f"{name} {split}", warn=warn)
        return _report(dataclasses.replace(evaluation, skipped=evaluation.skipped + dataset.skipped), *files)


def evaluate_with_depth(estimator: Estimator, seed: int, count: int, json_path: Path | None) -> int:
    """Print and write the figures of ``evaluate_depth`` for ``count`` images. Returns the exit code."""
    from .depth import describe_depth, evaluate_depth

    with outputs(json_path, None) as (json_file, _):
        figures = evaluate_depth(estimator, with_progress(range(count), count, "image"), seed)
        print(describe_depth(figures))
        write(json_file, figures)
    return 0


def evaluate_closing_fists(json_path: Path | None) -> int:
    """Print and write the figures of ``evaluate_fists``. Returns the exit code."""
    from .fists import describe_fists, evaluate_fists

    with outputs(json_path, None) as (json_file, _):
        figures = evaluate_fists()
        print(describe_fists(figures))
        write(json_file, figures)
    return 0


def evaluate_several_views(
    estimator: Estimator, views: int, seed: int, count: int, split: str, json_path: Path | None
) -> int:
    """Print and write the figures of ``evaluate_multiview`` for ``count`` scenes. Returns the exit code."""
    from .multiview import describe_multiview, evaluate_multiview

    with outputs(json_path, None) as (json_file, _):
        figures = evaluate_multiview(estimator, with_progress(range(count), count, "image"), views, seed, split)
        print(describe_multiview(figures))
        write(json_file, figures)
    return 0


def evaluate_views_over_time(clip: Path, step: int, json_path: Path | None) -> int:
    """Print and write the figures of ``evaluate_clip_views`` for every ``step``-th frame. Returns the exit code."""
    from .clip_views import clip_moments, describe_clip_views, evaluate_clip_views, second_camera

    with outputs(json_path, None) as (json_file, _):
        pose = second_camera()
        moments = clip_moments(clip, range(0, 10**6, step), pose)
        figures = evaluate_clip_views(moments, pose)
        print(describe_clip_views(figures))
        write(json_file, figures)
    return 0


def evaluate_rig_recordings(seed: int, count: int, split: str, json_path: Path | None) -> int:
    """Print and write the figures of ``evaluate_rigs`` for ``count`` recordings. Returns the exit code."""
    from .rig_views import describe_rigs, evaluate_rigs, rig_clips

    with outputs(json_path, None) as (json_file, _):
        figures = evaluate_rigs(rig_clips(range(seed, seed + count), split))
        print(describe_rigs(figures))
        write(json_file, figures)
    return 0


def evaluate_video_file(estimator: Estimator, path: Path, intrinsics: Intrinsics, json_path: Path | None) -> int:
    """Print and write the figures of ``evaluate_video``. Returns the exit code."""
    frames, camera = _video(path, intrinsics)
    with outputs(json_path, None) as (json_file, _):
        figures = evaluate_video(estimator, frames, camera)
        for name, value in figures.items():
            print(f"{name:>26}  {text(value):>10}")
        write(json_file, figures)
    return 0


def measure_video_jitter(estimator: Estimator, path: Path, intrinsics: Intrinsics, json_path: Path | None) -> int:
    """Print and write the figures of ``measure_jitter``. Returns the exit code."""
    frames, camera = _video(path, intrinsics)
    with outputs(json_path, None) as (json_file, _):
        figures = measure_jitter(estimator, frames, camera)
        print(describe_jitter(figures))
        write(json_file, figures)
    return 0


def _video(path: Path, intrinsics: Intrinsics) -> tuple[Iterator[tuple[np.ndarray, float]], Camera]:
    """Return a video's (image, stamp) pairs and its camera."""
    source = VideoSource(path)
    first = next(iter(source), None)
    if first is None:
        raise InputError(f"{path}: none of its frames can be decoded; the file may be damaged or its codec unsupported")
    height, width = first.image.shape[:2]
    for text in intrinsics.warnings(width, height, first.rotation):
        warn(f"warning: {text}")
    return _stamped(source), intrinsics.camera(width, height, first.rotation)[0]


def _stamped(source: VideoSource) -> Iterator[tuple[np.ndarray, float]]:
    for frame in with_progress(source, source.count, "frame"):
        assert frame.stamp is not None  # only still images have none
        yield frame.image, frame.stamp
    for problem in source.problems:
        warn(f"warning: {problem}")


@contextmanager
def outputs(json_path: Path | None, plot_path: Path | None) -> Iterator[tuple[Path | None, Path | None]]:
    """Open the output files before the work begins, so that one that cannot be written fails at once."""
    if plot_path is not None:
        try:
            from .report_plot import check_format
        except ImportError as error:
            raise ImportError("plots need matplotlib: pip install 'wildhands_ros[plots]'") from error
        check_format(plot_path)
    with ExitStack() as files:
        json_file = files.enter_context(OutputFile(json_path)) if json_path else None
        yield json_file, files.enter_context(OutputFile(plot_path)) if plot_path else None


def _report(evaluation: Evaluation, json_file: Path | None, plot_file: Path | None, more: dict | None = None) -> int:
    rows = evaluation.rows
    names = [f.name for f in dataclasses.fields(Figures) if f.name not in ("grasp_confusion", "grasp_reliability")]
    width = max(len(name) for name in (*names, *Grasp.__members__))
    print(f"{evaluation.suite}\n{'given':>{width}}  " + "  ".join(f"{given:>10}" for given in rows))
    for name in names:
        print(
            f"{name:>{width}}  "
            + "  ".join(f"{text(getattr(row, name)):>{max(10, len(given))}}" for given, row in rows.items())
        )
    if confusion := rows[evaluation.headline].grasp_confusion:
        print("grasps (rows: true class, columns: estimated class):")
        for grasp, counts in zip(Grasp, confusion, strict=False):
            print(f"{grasp.name.lower():>{width}}  " + " ".join(f"{count:>5}" for count in counts))
    for entry in rows[evaluation.headline].grasp_reliability or ():
        if entry.share_right is not None:
            limits = f"{entry.low:.1f} to {entry.high:.1f}"
            print(f"grasps of probability {limits}: {100 * entry.share_right:.0f} % of {entry.count} right")
    for reason, count in evaluation.skipped.most_common():
        print(f"not evaluated: {count} x {reason}")
    for signature in evaluation.signatures:
        print(f"note: {signature}")
    write(json_file, {**evaluation.as_dict(), **(more or {})})
    if plot_file is not None:
        from .report_plot import draw_report

        draw_report(evaluation, plot_file)
    return 0


def text(value: float | None) -> str:
    """Format a figure for the table."""
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def write(file: Path | None, data: dict) -> None:
    """Write figures as JSON, if there is a file to write to."""
    if file is not None:
        file.write_text(json.dumps(data, indent=2, allow_nan=False))
