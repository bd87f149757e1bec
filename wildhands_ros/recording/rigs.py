"""The poses of several cameras of a recording in a common frame: from a file, or from TF in the bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..geometry.trajectory import Trajectory, TrajectoryChain
from ..io.errors import InputError
from ..io.extrinsics_files import load_extrinsics
from .bag_poses import tf_poses
from .bags import Bag


@dataclass(frozen=True)
class Rig:
    """Cameras with known poses."""

    frame: str
    """Name of the common frame."""
    poses: Mapping[str, TrajectoryChain]
    """Pose of each camera in the common frame, by the name of the camera."""


def find_rig(bag: Bag, frame_ids: Mapping[str, str], extrinsics: Path | None, frame: str) -> Rig:
    """Finds the poses of cameras.

    Args:
        bag: The recording.
        frame_ids: ``frame_id`` of the images of each camera; the first one is the main camera.
        extrinsics: File with the poses; None to take them from TF.
        frame: Common frame, if the poses are taken from TF; empty for that of the main camera.

    Raises:
        InputError: The pose of a camera is unknown.
    """
    if extrinsics is not None:
        given = load_extrinsics(extrinsics)
        if missing := [name for name in frame_ids if name not in given.poses]:
            raise InputError(f"{extrinsics} has no camera {', '.join(missing)}: it has {', '.join(given.poses)}")
        links = {name: ((Trajectory.static(given.poses[name]), False),) for name in frame_ids}
        return Rig(given.frame, {name: TrajectoryChain(link) for name, link in links.items()})
    frame = frame or next(iter(frame_ids.values())).lstrip("/")
    if len(set(frame_ids.values())) < len(frame_ids):
        raise InputError(
            f"{bag.path}: the images of {' and '.join(frame_ids)} have the same frame_id, so TF cannot tell where each "
            "camera is: give --extrinsics FILE"
        )
    try:
        poses = {name: tf_poses(bag, frame, frame_id.lstrip("/")) for name, frame_id in frame_ids.items()}
    except InputError as error:
        raise InputError(f"{error}; or give the poses of the cameras with --extrinsics FILE") from error
    return Rig(frame, poses)
