"""``wildhands evaluate recording``: annotates synthetic recordings of a moving camera and compares with the truth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...config import EstimatorConfig
from ...evaluation.recordings import RecordedHand, RecordingLabels, recording_figures
from ...io.files import OutputFile
from ...recording.bags import Bag
from ...recording.camera_poses import PoseOptions
from ...recording.demonstrations import WORLD_HANDS_TOPIC
from ...recording.message import SIDE_OF_VALUE, Message
from ...recording.segments import AnnotatedFrame
from ...runtime.processes import Workers
from ...types import HandState
from .annotated_bags import HANDS_TOPIC
from .annotation import annotate
from .image_streams import AnnotationOptions
from .recorded_frames import STATES
from .synthetic_bags import WORLD, cached_recording


def evaluate_recordings(
    count: int,
    seconds: float,
    split: str,
    options: AnnotationOptions,
    config: EstimatorConfig,
    workers: Workers,
    json_path: Path | None,
    depth: bool = False,
    known_length: bool = False,
) -> Mapping[str, float]:
    """Annotates the first ``count`` synthetic recordings of a split and prints how good the result is.

    Args:
        count: Number of recordings.
        seconds: Duration of each.
        split: Split of the synthetic world.
        options: How to annotate.
        config: Configuration of the estimator.
        workers: The processes.
        json_path: File for the figures; None to only print them.
        depth: Whether the recordings have depth images.
        known_length: Whether the length of the hands is given.
    """
    recordings = []
    for seed in range(count):
        bag, labels = cached_recording(seed, seconds, split, depth)
        with_length = replace(config, hand_length=float(labels.hand_length)) if known_length else config
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "annotated"
            with_poses = replace(options, poses=PoseOptions(WORLD))
            for problem in annotate(bag, output, with_poses, with_length, {}, workers):
                print(problem)
            recordings.append((labels, recorded_hands(output)))
    figures = recording_figures(recordings)
    print(describe(figures, recordings))
    if json_path is not None:
        with OutputFile(json_path) as partial:
            partial.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def recorded_hands(folder: Path) -> list[RecordedHand]:
    """Reads the hands of an annotated bag, each with its place in the fixed frame if that is known."""
    hands: dict[float, list[Message]] = {}
    world: dict[float, list[Message]] = {}
    with Bag(folder) as bag:
        for connection, _, data in bag.messages():
            if connection.topic in (HANDS_TOPIC, WORLD_HANDS_TOPIC):
                message = bag.read(connection, data)
                stamp = message.header.stamp.sec + message.header.stamp.nanosec / 1e9
                (hands if connection.topic == HANDS_TOPIC else world)[stamp] = message.hands
    return [
        RecordedHand(
            stamp,
            SIDE_OF_VALUE[hand.side],
            np.reshape(hand.joints, (21, 3)).astype(np.float64),
            np.reshape(world[stamp][number].joints, (21, 3)).astype(np.float64) if stamp in world else None,
            np.asarray(hand.joints_visibility),
            np.asarray(hand.contact),
            np.asarray(hand.object_contact),
            STATES[hand.state],
            int(hand.doubts),
            bool(hand.usable),
        )
        for stamp, of_stamp in hands.items()
        for number, hand in enumerate(of_stamp)
    ]


def frame_hands(frames: Iterable[AnnotatedFrame]) -> list[RecordedHand]:
    """Returns the hands of refined frames, in the order of the frames, in the camera frame only."""
    return [
        RecordedHand(
            frame.stamp,
            hand.side,
            hand.joints,
            None,
            visibility,
            contact,
            np.full(5, np.nan) if hand.object_contact is None else hand.object_contact,
            hand.quality.state if hand.quality else HandState.SEEN,
            hand.quality.doubts.value if hand.quality else 0,
            bool(hand.quality and hand.quality.usable),
        )
        for frame in frames
        for hand, visibility, contact in zip(
            frame.estimate.hands, frame.estimate.visibility, frame.estimate.contacts, strict=True
        )
    ]


def describe(figures: Mapping[str, float], recordings: list[tuple[RecordingLabels, list[RecordedHand]]]) -> str:
    """Returns the figures as text."""
    frames = sum(len(labels.stamps) for labels, _ in recordings)
    ratio = figures["world_wrist_mm"] / figures["camera_wrist_mm"]
    return "\n".join(
        [
            f"{len(recordings)} recordings, {frames} frames",
            f"wrist error: {figures['camera_wrist_mm']:.1f} mm in the camera frame, "
            f"{figures['world_wrist_mm']:.1f} mm in the world ({100 * (ratio - 1):+.1f} %)",
            f"coverage: {100 * figures['coverage']:.1f} % of {figures['due']:.0f} hands that are at least half seen",
            f"masked: {100 * figures['wrong_masked']:.1f} % of {figures['wrong']:.0f} wrong estimates, "
            f"{100 * figures['good_masked']:.1f} % of {figures['good']:.0f} good ones",
            f"visibility of the joints: average precision {figures['visibility_ap']:.3f}",
            f"contact of fingertips: average precision {figures['contact_ap']:.3f}, calibration error "
            f"{figures['contact_calibration_error']:.3f}; {100 * figures['contact_rate']:.1f} % touch, "
            f"{100 * figures['contact_known']:.0f} % are known",
            f"contact with objects: average precision {figures['object_contact_ap']:.3f}, calibration error "
            f"{figures['object_contact_calibration_error']:.3f}; {100 * figures['object_contact_rate']:.1f} % touch, "
            f"{100 * figures['object_contact_known']:.0f} % are known",
        ]
    )
