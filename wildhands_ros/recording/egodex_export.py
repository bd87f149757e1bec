"""Exports demonstrations in the layout of EgoDex: one HDF5 file and one video per episode."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.pose import Pose
from ..io.files import output_folder
from ..io.images import InputError
from ..io.video_writer import VideoWriter
from . import openxr
from .demonstrations import Demonstration, ExportSummary, Sample
from .features import SIDES, best_hand
from .message import Message

_BONES = {
    "metacarpal": "Metacarpal",
    "proximal": "Knuckle",
    "intermediate": "IntermediateBase",
    "distal": "IntermediateTip",
    "tip": "Tip",
}
_THUMB_BONES = {
    "metacarpal": "Knuckle",
    "proximal": "IntermediateBase",
    "distal": "IntermediateTip",
    "tip": "Tip",
}


def _name(joint: str) -> str | None:
    """Returns EgoDex's name of an OpenXR joint without its side; None for the palm, which EgoDex does not have."""
    if joint == "palm":
        return None
    if joint == "wrist":
        return "Hand"
    finger, bone = joint.split("_")
    return f"Thumb{_THUMB_BONES[bone]}" if finger == "thumb" else f"{finger.capitalize()}Finger{_BONES[bone]}"


NAMES = {number: name for number, joint in enumerate(openxr.JOINTS) if (name := _name(joint)) is not None}
"""Names of EgoDex's 25 joints, without the side, by the number of the OpenXR joint."""


def export_egodex(demonstrations: Iterable[Demonstration], folder: Path) -> ExportSummary:
    """Writes ``<n>.hdf5`` and ``<n>.mp4`` for each episode.

    The file has ``camera/intrinsic`` (3, 3); ``transforms/camera`` and ``transforms/<joint>`` (T, 4, 4), poses in the
    fixed frame, or in the camera frame if there is none (attribute ``frame``); ``confidences/<joint>`` (T,), 0 where
    there is no hand; ``usable/<side>`` (T,); and the attribute ``llm_description``, the task. Joints are named as in
    EgoDex, such as leftIndexFingerTip; their axes are OpenXR's.

    Args:
        demonstrations: the episodes.
        folder: the new folder.

    Raises:
        InputError: there is nothing to export.
        ImportError: h5py is not installed.
        FileExistsError: the folder exists.
    """
    with output_folder(folder) as partial:
        partial.mkdir()
        return _write_all(demonstrations, partial)


def _write_all(demonstrations: Iterable[Demonstration], folder: Path) -> ExportSummary:
    import h5py

    notes: list[str] = []
    episodes = frames = 0
    for episode in demonstrations:
        notes += episode.notes
        content = io.BytesIO()  # on a full disk, HDF5 would end the process with SIGSEGV
        with h5py.File(content, "w") as file:
            _write(file, episode)
        (folder / f"{episodes}.hdf5").write_bytes(content.getbuffer())
        video = VideoWriter(folder / f"{episodes}.mp4", episode.fps)
        for sample in episode.samples:
            video.write(sample.image())
        video.close()
        video.check()
        episodes, frames = episodes + 1, frames + len(episode.samples)
    if not episodes:
        raise InputError("there is no episode to export")
    return ExportSummary(episodes, frames, notes)


def _write(file, episode: Demonstration) -> None:
    samples = episode.samples
    file.attrs["llm_description"] = episode.task
    file.attrs["fps"] = episode.fps
    file.attrs["frame"] = next((sample.world.frame for sample in samples if sample.world is not None), "camera")
    file["camera/intrinsic"] = np.reshape(samples[0].hands.k, (3, 3))
    file["stamp"] = np.array([sample.stamp for sample in samples], np.int64)
    poses = [sample.world.camera_pose if sample.world is not None else None for sample in samples]
    file["transforms/camera"] = np.stack([_pose_matrix(pose) for pose in poses])
    for side, value in SIDES.items():
        found = [_matrices(sample, value, episode.has_world) for sample in samples]
        matrices, confidences = (np.stack([each[i] for each in found]) for i in (0, 1))
        for number, name in NAMES.items():
            file[f"transforms/{side}{name}"] = matrices[:, number]
            file[f"confidences/{side}{name}"] = confidences[:, number]
        file[f"usable/{side}"] = np.array([each[2] for each in found])


def _matrices(sample: Sample, side: int, in_world: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Returns (26, 4, 4) poses of OpenXR's joints, their (26,) confidences, and whether the hand is usable."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (len(openxr.JOINTS), 1, 1))
    hands = sample.hands.hands
    if in_world:
        hands = sample.world.hands if sample.world is not None else ()
    hand = best_hand(hands, side)
    if hand is None or not np.isfinite(hand.joints).all():
        return matrices, np.zeros(len(openxr.JOINTS), np.float32), False
    poses, _ = openxr.message_joints(hand)
    matrices[:, :3, :3] = Rotation.from_quat(poses[:, 3:]).as_matrix()
    matrices[:, :3, 3] = poses[:, :3]
    visibility = np.nan_to_num(getattr(hand, "joints_visibility", np.ones(21)))
    return matrices, visibility[openxr.SOURCES].astype(np.float32), bool(getattr(hand, "usable", False))


def _pose_matrix(pose: Message | None) -> np.ndarray:
    matrix = np.eye(4, dtype=np.float32)
    if pose is not None:
        read = Pose.from_message(pose.position, pose.orientation)
        matrix[:3, :3], matrix[:3, 3] = read.rotation, read.position
    return matrix
