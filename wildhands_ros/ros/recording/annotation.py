"""``wildhands annotate``: estimates the hands in a bag or video and writes a bag that contains them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path

from ...config import EstimatorConfig
from ...estimator import hand_model
from ...fitting.hand_length import exact_lengths
from ...io.errors import InputError
from ...io.progress import Progress, warn
from ...recording.annotation import Annotation
from ...recording.bags import Bag, is_bag
from ...recording.camera_poses import CameraPoses, camera_poses, pose_problems
from ...recording.image_stream import OpenStream
from ...recording.refinement import Refinement
from ...recording.rigs import find_rig
from ...recording.segments import AnnotatedFrame
from ...recording.several_cameras import RecordedCamera, RecordingFusion
from ...runtime.processes import Workers, repeated
from .annotated_bags import VIDEO_FRAME_ID, AnnotatedHands, write_annotated_bag, write_annotated_video
from .image_streams import AnnotationOptions, BagStream, VideoStream, open_stream

_IMAGE_NUMBER = re.compile(r"\bimage \d+\b")


def annotate(
    source: Path,
    output: Path,
    options: AnnotationOptions,
    config: EstimatorConfig,
    settings: Mapping[str, object],
    workers: Workers,
) -> list[str]:
    """Estimates the hands in a recording and writes them to a new bag. Resumes an interrupted call.

    Args:
        source: a bag in any format that ``Bag`` reads, or a video.
        output: the new folder.
        options: how to read the input, and what to do with the estimates.
        config: configuration of the estimator.
        settings: what else the estimates depend on, as JSON data; earlier work with other settings is not resumed.
        workers: the processes that do the work.

    Returns:
        What could not be read, one sentence each.

    Raises:
        InputError: the input cannot be annotated.
        OSError: the output exists or cannot be written, or a worker process was killed.
    """
    # Absolute paths, for workers on other machines.
    source, output = source.resolve(), output.resolve()
    partial_folder = output.with_name(f"{output.name}.partial")
    bag_folder, is_written = partial_folder / output.name, partial_folder / "written"
    if output.exists():
        was_killed_last = is_written.is_file() or (partial_folder.is_dir() and not any(partial_folder.iterdir()))
        if not was_killed_last or bag_folder.exists():
            raise FileExistsError(f"{output} already exists; remove it, or choose another --output")
        # The earlier call was killed after it had moved the bag to its place.
        _remove(partial_folder, is_written)
        warn(f"{source}: {output} was already complete")
        return []
    _check_writable(partial_folder)
    is_written.unlink(missing_ok=True)
    inputs = {**asdict(config), **settings, "files": _fingerprint(source), "rectified": options.rectified}

    def estimated(readable: Path, count: int | None, name: str = "") -> Annotation:
        of_camera = options.of_cameras()[name]
        chosen = {"topic": of_camera.image_topic, "namespace": of_camera.namespace, "depth": asdict(of_camera.depth)}
        folder = partial_folder / f"segments{name.replace('/', '_')}"
        annotation = Annotation(folder, {**inputs, **chosen})
        _run(annotation, source, partial(open_stream, readable, of_camera), count, config, workers)
        return annotation

    model = hand_model(config)
    refine = Refinement(model, options.refinement, config.hand_length or None)

    def refined(
        annotation: Annotation, poses: CameraPoses | None, fuse: Callable[[list[AnnotatedFrame]], list[AnnotatedFrame]]
    ) -> AnnotatedHands:
        frames = annotation.frames()
        problems = order_problems(source, frames)
        is_in_order = not problems
        # Tracks are followed in time, also if the recording is not in that order; the bag keeps its own.
        in_time = fuse(_by_time(frames))
        problems += pose_problems(poses, in_time) if poses is not None else []
        found = refine(in_time, poses.poses if poses is not None else None)
        return AnnotatedHands(
            found if is_in_order else iter(sorted(found, key=lambda frame: frame.index)),
            model,
            poses.frame if poses is not None else None,
            problems,
        )

    if is_bag(source):
        with Bag(source, scratch=output.parent) as bag:
            streams = {name: BagStream(bag, each) for name, each in options.of_cameras().items()}
            for stream in streams.values():
                _check(stream)
            main, *others = streams
            frame_ids = {name: stream.frame_id() for name, stream in streams.items()}
            poses = camera_poses(options.poses, bag, frame_ids[main])
            rig = None
            if options.rig is not None:
                rig = find_rig(bag, frame_ids, options.rig.extrinsics, options.poses.frame)
                if poses is None and options.rig.extrinsics is not None:
                    poses = CameraPoses(rig.frame, rig.poses[main])
            annotations = {name: estimated(bag.readable, stream.count, name) for name, stream in streams.items()}

            def fused(frames: list[AnnotatedFrame]) -> list[AnnotatedFrame]:
                if rig is None or options.rig is None:
                    return frames
                fusion = RecordingFusion(model, options.rig.tolerance, exact_lengths(config.hand_length))
                return fusion(
                    RecordedCamera(main, frames, rig.poses[main]),
                    [RecordedCamera(name, _by_time(annotations[name].frames()), rig.poses[name]) for name in others],
                )

            hands = refined(annotations[main], poses, fused)
            write_annotated_bag(bag, streams[main].topic.topic, hands, bag_folder)
            problems = [*bag.problems, *(text for each in annotations.values() for text in each.problems())]
            problems += hands.problems
    else:
        if options.rig is not None:
            raise InputError(f"{source}: a video has one camera; --cameras is for bags")
        video = VideoStream(source, options)
        _check(video)
        poses = camera_poses(options.poses, None, VIDEO_FRAME_ID)
        annotation = estimated(source, video.count)
        hands = refined(annotation, poses, lambda frames: frames)
        write_annotated_video(hands, annotation.jpegs(), bag_folder)
        problems = [*annotation.problems(), *hands.problems]
    is_written.touch()
    bag_folder.rename(output)
    _remove(partial_folder, is_written)
    return summarized(problems)


def _remove(folder: Path, last: Path) -> None:
    """Removes a folder, one of its files last, by which a call that is killed meanwhile is recognised."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path != last:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _by_time(frames: list[AnnotatedFrame]) -> list[AnnotatedFrame]:
    return sorted(frames, key=lambda frame: frame.stamp)


def order_problems(source: Path, frames: Sequence[AnnotatedFrame]) -> list[str]:
    """Returns a sentence if images are earlier than the image before them."""
    stamps = [frame.stamp for frame in frames]
    backwards = sum(later < earlier for earlier, later in pairwise(stamps))
    if not backwards:
        return []
    return [
        f"{source}: {backwards} images have an earlier stamp than the image before them, at which tracks begin anew: "
        "the clock was set, or the recording is out of order"
    ]


def _check_writable(folder: Path) -> None:
    """Raises OSError if a folder cannot be created, which is to be found before the work."""
    if not folder.exists():
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise OSError(f"cannot write to {folder}: {error.strerror}") from error
        folder.rmdir()


def summarized(problems: list[str]) -> list[str]:
    """Replaces problems that differ only in the number of the image by the first of them and their count."""
    alike: dict[str, list[str]] = {}
    for problem in problems:
        alike.setdefault(_IMAGE_NUMBER.sub("image", problem), []).append(problem)
    return [each[0] if len(each) == 1 else f"{each[0]} (and {len(each) - 1} more like this)" for each in alike.values()]


def _check(stream: BagStream | VideoStream) -> None:
    """Checks that a stream can be used, and prints what is doubtful about its camera."""
    stream.check()
    for text in stream.camera_warnings:
        warn(f"warning: {text}")


def _run(
    annotation: Annotation,
    source: Path,
    open_source: OpenStream,
    count: int | None,
    config: EstimatorConfig,
    workers: Workers,
) -> None:
    """Runs the annotation and shows its progress."""
    if done := annotation.num_done(count):
        warn(f"{source}: resuming after {done} frames")
    with Progress(count, "frame", source.name, done) as progress:

        def show() -> None:
            progress.show(annotation.num_done(count))

        try:
            with repeated(show, seconds=1):
                annotation.run(open_source, count, config, workers)
        except ChildProcessError as error:
            raise ChildProcessError(
                f"{source}: {error}; run the same command again to resume; fewer --jobs need less memory"
            ) from error
        show()


def _fingerprint(source: Path) -> list[list[object]]:
    """Returns names, sizes and times of the files of a recording, to notice that it has changed."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
