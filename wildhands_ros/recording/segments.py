"""The estimates of a recording on disk, in segments.

A segment's file appears only when it is complete, so that annotation can be resumed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import Camera
from ..geometry.so3 import matrices_from_vectors
from ..geometry.trajectory import TimedPose
from ..io.files import OutputFile
from ..types import DepthStatus, EstimateSource, FrameEstimate, HandEstimate, HandLength, ManoParameters, Side

_SIDES = tuple(Side)
_SOURCES = tuple(EstimateSource)
_DEPTH = tuple(DepthStatus)
_MANO = {"transl": 3, "global_orient": 3, "hand_pose": 45, "betas": 10}
_NUMBERS = ("score", "side_score", "reprojection_error", "network_distance")
_OPTIONAL = {
    "joints_stddev": (21, 3),
    "wrist_covariance": (6, 6),
    "keypoints": (21, 2),
    "seen": (21,),
    "object_contact": (5,),
    "grasp_probabilities": (9,),
}


@dataclass(frozen=True)
class AnnotatedFrame:
    """One frame of a recording with its estimate."""

    index: int
    """Number of the frame in its stream, from 0."""
    stamp: float
    """Seconds."""
    origin: IntrinsicsSource
    """Where the camera's intrinsics come from."""
    estimate: FrameEstimate
    camera_pose: TimedPose | None = None
    """Pose of the camera in the fixed frame; None if it is unknown. It is not saved."""


@dataclass(frozen=True)
class Segment:
    """Consecutive frames."""

    frames: list[AnnotatedFrame]
    problems: list[str]
    """Images that could not be decoded, one sentence each."""


def save(path: Path, segment: Segment) -> None:
    """Writes a segment to an .npz file, which appears only when it is complete."""
    frames = segment.frames
    cameras: list[dict[str, object]] = []
    camera_numbers = []
    for frame in frames:
        camera = _camera_to_json(frame)
        if camera not in cameras:
            cameras.append(camera)
        camera_numbers.append(cameras.index(camera))
    hands = [hand for frame in frames for hand in frame.estimate.hands]
    columns = {
        "index": np.array([frame.index for frame in frames], np.int64),
        "stamp": np.array([frame.stamp for frame in frames], np.float64),
        "unresolved": np.array([frame.estimate.unresolved for frame in frames], np.int64),
        "hands": np.array([len(frame.estimate.hands) for frame in frames], np.int64),
        "camera": np.array(camera_numbers, np.int64),
        "cameras": np.array(json.dumps(cameras)),
        "problems": np.array(json.dumps(segment.problems)),
        "side": np.array([_SIDES.index(hand.side) for hand in hands], np.uint8),
        "source": np.array([_SOURCES.index(hand.source) for hand in hands], np.uint8),
        "depth": np.array([_DEPTH.index(hand.depth) for hand in hands], np.uint8),
        "track": np.array([hand.track_id for hand in hands], "U32"),
    }
    for name in _NUMBERS:
        columns[name] = np.array([getattr(hand, name) for hand in hands], np.float64)
    columns["box"] = _stack([hand.box for hand in hands], (4,))
    columns["joints"] = _stack([hand.joints for hand in hands], (21, 3))
    columns["joints_2d"] = _stack([hand.joints_2d for hand in hands], (21, 2))
    for name, size in _MANO.items():
        columns[name] = _stack([getattr(hand.mano, name) for hand in hands], (size,))
    for name, shape in _OPTIONAL.items():
        columns[name] = _stack([getattr(hand, name) for hand in hands], shape)
    lengths = [hand.hand_length and (hand.hand_length.metres, hand.hand_length.stddev) for hand in hands]
    columns["hand_length"] = _stack(lengths, (2,))
    with OutputFile(path) as partial:
        np.savez(partial, **columns)  # type: ignore[arg-type, unused-ignore]  # numpy 2: allow_pickle


def load(path: Path) -> Segment:
    """Reads a segment that ``save`` wrote. Its hands have no meshes; their parameters are known.

    Args:
        path: the file.

    Raises:
        ValueError, OSError, KeyError: ``save`` did not write this file.
    """
    with np.load(path, allow_pickle=False) as data:
        columns = {name: data[name] for name in data.files}
    columns["rotation"] = matrices_from_vectors(columns["global_orient"])
    cameras = [_camera_from_json(item) for item in json.loads(str(columns["cameras"]))]
    frames, row = [], 0
    for number, count in enumerate(columns["hands"].tolist()):
        camera, origin = cameras[columns["camera"][number]]
        hands = tuple(_hand(columns, i) for i in range(row, row + count))
        row += count
        estimate = FrameEstimate(hands, camera, int(columns["unresolved"][number]))
        frames.append(AnnotatedFrame(int(columns["index"][number]), float(columns["stamp"][number]), origin, estimate))
    return Segment(frames, json.loads(str(columns["problems"])))


def load_problems(path: Path) -> list[str]:
    """Reads only the ``problems`` of a segment."""
    with np.load(path, allow_pickle=False) as data:
        return json.loads(str(data["problems"]))


def _hand(columns: dict[str, np.ndarray], row: int) -> HandEstimate:
    mano = ManoParameters(*(columns[name][row] for name in _MANO))
    numbers = {name: float(columns[name][row]) for name in _NUMBERS}
    hand = HandEstimate(
        side=_SIDES[columns["side"][row]],
        box=columns["box"][row],
        joints=columns["joints"][row],
        joints_2d=columns["joints_2d"][row],
        pose_mesh=_no_mesh,
        wrist_position=columns["joints"][row, 0],
        wrist_rotation=columns["rotation"][row],
        mano=mano,
        source=_SOURCES[columns["source"][row]],
        track_id=str(columns["track"][row]),
        depth=_DEPTH[columns["depth"][row]],
        score=numbers["score"],
        side_score=numbers["side_score"],
        reprojection_error=numbers["reprojection_error"],
        network_distance=numbers["network_distance"],
    )
    known = {name: value for name in _OPTIONAL if not np.isnan(value := columns[name][row]).all()}
    metres, stddev = columns["hand_length"][row].tolist()
    return replace(hand, hand_length=None if np.isnan(metres) else HandLength(metres, stddev), **known)


def _no_mesh(mano: ManoParameters, side: Side) -> np.ndarray:
    return np.zeros((0, 3), np.float32)


def _stack(values: list, shape: tuple[int, ...]) -> np.ndarray:
    """Returns (N, *shape) float64 with NaN for None."""
    return np.array([np.full(shape, np.nan) if value is None else value for value in values], np.float64).reshape(
        -1, *shape
    )


def _camera_to_json(frame: AnnotatedFrame) -> dict[str, object]:
    camera = frame.estimate.camera
    return {
        "k": camera.k.ravel().tolist(),
        "width": camera.width,
        "height": camera.height,
        "distortion_model": camera.distortion_model,
        "d": camera.d.tolist(),
        "origin": frame.origin.value,
    }


def _camera_from_json(data: dict) -> tuple[Camera, IntrinsicsSource]:
    k = np.array(data["k"]).reshape(3, 3)
    camera = Camera(k, data["width"], data["height"], data["distortion_model"], np.array(data["d"]))
    return camera, IntrinsicsSource(data["origin"])
