"""Where the pose of the camera comes from: TF or a topic in the bag, or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..geometry.trajectory import TrajectoryChain
from ..io.errors import InputError
from ..io.trajectories.files import TrajectoryOptions, read_trajectory
from .bag_poses import tf_poses, topic_poses
from .bags import Bag
from .segments import AnnotatedFrame

WORLD = "world"
"""Name of the fixed frame if neither the user nor the recording names it."""
_MOST_JUMPS = 5
"""Jumps that are listed in a problem."""


@dataclass(frozen=True)
class PoseOptions:
    """The user's options for the pose of the camera."""

    frame: str = ""
    """Name of the fixed frame; empty for that of the poses."""
    source: str = ""
    """A topic of the bag or a file; empty for TF."""
    trajectory: TrajectoryOptions = field(default_factory=TrajectoryOptions)
    """How the poses of a topic or file are given."""

    @property
    def are_wanted(self) -> bool:
        """Whether hands in a fixed frame are wanted at all."""
        return bool(self.frame or self.source)


@dataclass(frozen=True)
class CameraPoses:
    """The pose of the camera in a fixed frame."""

    frame: str
    poses: TrajectoryChain


def camera_poses(options: PoseOptions, bag: Bag | None, camera_frame: str) -> CameraPoses | None:
    """Finds the poses of the camera of a recording.

    Args:
        options: The user's options.
        bag: The recording; None for a video.
        camera_frame: ``frame_id`` of the images.

    Returns:
        The poses; None if they are not wanted.

    Raises:
        InputError: They are wanted, but there are none.
        OSError: Their file cannot be read.
    """
    if not options.are_wanted:
        return None
    file = Path(options.source)
    if options.source and (bag is None or file.is_file()):
        if not file.exists():
            raise InputError(f"--camera-poses: there is no file {file}; a video has no topics")
        trajectory = read_trajectory(file, options.trajectory)
        return CameraPoses(options.frame or WORLD, TrajectoryChain(((trajectory, False),)))
    if bag is None:
        raise InputError("a video has no TF: give the poses of the camera with --camera-poses FILE")
    camera_frame = camera_frame.lstrip("/")
    if options.source:
        chain, frame = topic_poses(bag, options.source, camera_frame, options.trajectory)
        return CameraPoses(options.frame or frame or WORLD, chain)
    return CameraPoses(options.frame, tf_poses(bag, options.frame, camera_frame))


def pose_problems(poses: CameraPoses, frames: Sequence[AnnotatedFrame]) -> list[str]:
    """Returns what is missing of the poses of a recording, one sentence each.

    Raises:
        InputError: The pose is known for none of the images.
    """
    chain = poses.poses
    times = [float(frame.index) if chain.by_image else frame.stamp for frame in frames]
    known = [chain.at(time) is not None for time in times]
    if not times or all(known):
        return _jumps(poses, times)
    span = chain.span
    unit = "images" if chain.by_image else "seconds"
    if not any(known):
        between = f"from {span[0]:.3f} to {span[1]:.3f}" if span else "at no common time"
        raise InputError(
            f"the pose of the camera in {poses.frame!r} is known {between} {unit}, but the images are from "
            f"{times[0]:.3f} to {times[-1]:.3f}: the clocks differ; set --pose-offset to what must be added to the "
            "times of the poses, or record images and poses with one clock"
        )
    problems = []
    if span:
        late = sum(time > span[1] for time in times)
        early = sum(time < span[0] for time in times)
        if late:
            problems.append(f"the poses of the camera end {times[-1] - span[1]:.1f} {unit} before the last image")
        if early:
            problems.append(f"the poses of the camera begin {span[0] - times[0]:.1f} {unit} after the first image")
    missing = len(known) - sum(known)
    problems.append(
        f"the pose of the camera in {poses.frame!r} is unknown for {missing} of {len(times)} images, whose hands are "
        "only in the camera frame"
    )
    return problems + _jumps(poses, times)


def _jumps(poses: CameraPoses, times: Sequence[float]) -> list[str]:
    jumps = [time for time in poses.poses.jumps if times and times[0] <= time <= times[-1]]
    if not jumps:
        return []
    some = ", ".join(f"{time - times[0]:.2f}" for time in jumps[:_MOST_JUMPS])
    more = f" and {len(jumps) - _MOST_JUMPS} more" if len(jumps) > _MOST_JUMPS else ""
    return [
        f"the poses of the camera jump or pause {len(jumps)} times ({some}{more} seconds after the first image); hands "
        "are not smoothed or interpolated across"
    ]
