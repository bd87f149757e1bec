"""`wildhands annotate`: a bag or a video in, a bag with ``hands`` beside the original topics out."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import rosbags.interfaces as rosbag
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from rosbags.typesys.store import Typestore
from std_msgs.msg import Header
from tqdm import tqdm

from ...config import EstimatorConfig
from ...estimator import hand_model
from ...geometry.calibration import IntrinsicsSource
from ...hand_model.asset import HandAsset
from ...io.camera_files import guess_warning
from ...msg import HandArray
from ...recording.annotate import Annotation
from ...recording.bag_writer import BagWriter
from ...recording.bags import IMAGE_TYPES, Bag, is_bag
from ...recording.recording_part import OpenStream
from ...recording.segments import Annotated
from ...runtime.processes import Workers, repeated
from ...types import Side
from ..camera_info import camera_info
from ..messages import hand_array
from .image_streams import CAMERA_INFO, BagStream, Choices, VideoStream, open_stream

HandModel = Mapping[Side, HandAsset]
HANDS = "wildhands_ros/msg/HandArray"
VIDEO_FRAME, VIDEO_START = "camera", 10**9
"""A video's frames are stamped from one second on: a stamp of zero would mean that there is none."""


def annotate(
    source: Path, output: Path, choices: Choices, config: EstimatorConfig, settings: dict, workers: Workers
) -> list[str]:
    """Estimates the hands of a recording and writes the new bag ``output``; goes on where an earlier call was interrupted.

    Args:
        source: a bag in any format that ``Bag`` reads, or a video.
        output: the folder to make.
        choices: about the input.
        config: of the estimator.
        settings: what the estimates depend on besides, as JSON: with others, earlier work is not gone on with.
        workers: who does the work.

    Returns:
        What could not be read, one sentence each.

    :raises InputError: nothing can be annotated, with the reason.
    :raises OSError: the output exists or cannot be written, or a worker was killed.
    """
    # Workers on other machines find them by these names.
    source, output = source.resolve(), output.resolve()
    if output.exists():
        raise FileExistsError(f"{output} exists already; remove it, or give another --output")
    partial_folder = output.with_name(f"{output.name}.partial")
    settings = {
        **asdict(config),
        **settings,
        "files": _fingerprint(source),
        "topic": choices.image_topic,
        "rectified": choices.rectified,
    }

    def estimated(readable: Path, count: int | None) -> Annotation:
        annotation = Annotation(partial_folder / "segments", settings)
        _estimate(source, annotation, partial(open_stream, readable, choices), count, config, workers)
        return annotation

    if not is_bag(source):
        stream = VideoStream(source, choices)
        first = next(stream.frames(lambda _: True), None)
        if first is not None and first.origin is IntrinsicsSource.GUESS:
            print(f"wildhands: warning: {guess_warning(first.camera)}", file=sys.stderr)
        annotation = estimated(source, stream.count)
        _write_video(annotation, hand_model(config), choices.smooth, partial_folder / output.name)
        problems = annotation.problems()
    else:
        with Bag(source, scratch=output.parent) as bag:
            stream = BagStream(bag, choices)
            annotation = estimated(bag.readable, stream.count)
            _write_bag(bag, stream, annotation, hand_model(config), choices.smooth, partial_folder / output.name)
            problems = [*bag.problems, *annotation.problems()]
    (partial_folder / output.name).rename(output)
    shutil.rmtree(partial_folder, ignore_errors=True)
    return problems


def _estimate(
    source: Path,
    annotation: Annotation,
    open_it: OpenStream,
    count: int | None,
    config: EstimatorConfig,
    workers: Workers,
) -> None:
    if done := annotation.done(count):
        print(f"{source}: going on, {done} frames are done", file=sys.stderr)
    with tqdm(total=count, initial=done, unit="frame", desc=source.name, disable=None) as bar:

        def show() -> None:
            bar.update(annotation.done(count) - bar.n)

        try:
            with repeated(show, seconds=1):
                annotation.run(open_it, count, config, workers)
        except ChildProcessError as error:
            raise ChildProcessError(
                f"{source}: {error}; the same command goes on where it was; fewer --jobs need less memory"
            ) from error
        show()


def _write_bag(
    bag: Bag, stream: BagStream, annotation: Annotation, model: HandModel, smooth: bool, folder: Path
) -> None:
    annotated = _by_index(annotation, model, smooth)
    with _fresh(folder) as writer:
        topics: dict[tuple[str, str], rosbag.Connection] = {}
        for connection in bag.connections:
            # Hands that were recorded live stay, under another name.
            name = "/hands/recorded" if connection.topic == "/hands" else connection.topic
            if (name, connection.msgtype) not in topics:
                topics[name, connection.msgtype] = writer.topic_like(name, connection, bag.types)
        hands = writer.topic("/hands", HANDS)
        index = 0
        for connection, received, data in bag.messages():
            name = "/hands/recorded" if connection.topic == "/hands" else connection.topic
            writer.write(topics[name, connection.msgtype], received, data)
            if connection.topic == stream.topic.topic:
                if (frame := annotated(index)) is not None:
                    header = bag.read(connection, data).header
                    stamp = Time(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
                    message = _hands(frame, model, Header(stamp=stamp, frame_id=header.frame_id))
                    writer.write(hands, received, _bytes(message, HANDS, writer.types))
                index += 1


def _write_video(annotation: Annotation, model: HandModel, smooth: bool, folder: Path) -> None:
    # The bag's file is compressed beside the work on the next frame.
    with _fresh(folder) as writer, ThreadPoolExecutor(1) as thread:
        images = writer.topic("/image/compressed", IMAGE_TYPES[1])
        infos = writer.topic("/camera_info", CAMERA_INFO)
        hands = writer.topic("/hands", HANDS)
        writing: list[Future] = []
        for frame, jpeg in zip(annotation.frames(model, smooth), annotation.jpegs(), strict=True):
            stamp = VIDEO_START + round(frame.stamp * 1e9)
            header = Header(stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id=VIDEO_FRAME)
            messages = (
                (infos, _bytes(camera_info(frame.estimate.camera, header), CAMERA_INFO, writer.types)),
                (images, _image_bytes(jpeg, header, writer.types)),
                (hands, _bytes(_hands(frame, model, header), HANDS, writer.types)),
            )
            _results(writing)
            writing = [thread.submit(writer.write, topic, stamp, data) for topic, data in messages]
        _results(writing)


def _results(futures: list[Future]) -> None:
    """Waits for them, and raises what they raise."""
    for future in futures:
        future.result()


def _by_index(annotation: Annotation, model: HandModel, smooth: bool) -> Callable[[int], Annotated | None]:
    """The estimate of a frame, asked for in rising order; None where there is none."""
    frames = annotation.frames(model, smooth)
    waiting = next(frames, None)

    def get(index: int) -> Annotated | None:
        nonlocal waiting
        if waiting is None or waiting.index != index:
            return None
        found, waiting = waiting, next(frames, None)
        return found

    return get


def _hands(frame: Annotated, model: HandModel, header: Header) -> HandArray:
    return hand_array(frame.estimate, header, frame.origin, model[Side.RIGHT].name)


def _bytes(message, kind: str, types: Typestore) -> bytes:
    """A message of ours, serialised. The middleware leaves in the padding what was in memory: written anew, equal hands are equal bytes."""
    return bytes(types.serialize_cdr(types.deserialize_cdr(serialize_message(message), kind), kind))


def _image_bytes(jpeg: bytes, header: Header, types: Typestore) -> bytes:
    """A CompressedImage, serialised: by way of the middleware it would be copied three times more."""
    image, head, time = (
        types.types[kind] for kind in (IMAGE_TYPES[1], "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    stamp = time(sec=header.stamp.sec, nanosec=header.stamp.nanosec)
    message = image(
        head(stamp=stamp, frame_id=header.frame_id), "rgb8; jpeg compressed bgr8", np.frombuffer(jpeg, np.uint8)
    )
    return bytes(types.serialize_cdr(message, IMAGE_TYPES[1]))


def _fresh(folder: Path) -> BagWriter:
    """A writer for a folder of which an interrupted run may have left a part."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return BagWriter(folder)


def _fingerprint(source: Path) -> list:
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
