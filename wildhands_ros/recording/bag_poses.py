"""The pose of the camera in bags: from TF, or from a topic with poses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import rosbags.interfaces as rosbag

from ..geometry.pose import Pose
from ..geometry.trajectory import Trajectory, TrajectoryChain
from ..io.errors import InputError
from ..io.trajectories.files import TrajectoryOptions
from .bags import Bag
from .message import Message, message_stamp

TF = "tf2_msgs/msg/TFMessage"
_STATIC_TOPICS = ("tf_static",)
_IN_POSE = ("nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseWithCovarianceStamped")
POSE_TYPES = (*_IN_POSE, "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/TransformStamped")
"""Types of topics that give poses."""


@dataclass(frozen=True)
class _Edge:
    """A transform of TF: the pose of a child frame in its parent."""

    parent: str
    trajectory: Trajectory


def tf_poses(bag: Bag, frame: str, camera_frame: str) -> TrajectoryChain:
    """Returns the pose of a camera in a frame, from the TF of a bag.

    Args:
        bag: The recording.
        frame: Name of the frame.
        camera_frame: ``frame_id`` of the images.

    Raises:
        InputError: There is no TF, or it does not connect the two frames.
    """
    edges = _edges(bag)
    if not edges:
        raise InputError(
            f"{bag.path}: there is no TF in this recording, so the pose of the camera in {frame!r} is unknown: record "
            "/tf and /tf_static, or give the poses with --camera-poses TOPIC_OR_FILE"
        )
    up, down = _ancestors(edges, camera_frame), _ancestors(edges, frame)
    common = next((name for name in up if name in down), None)
    if common is None:
        names = sorted({*edges, *(edge.parent for edge in edges.values())})
        raise InputError(
            f"{bag.path}: TF does not connect {frame!r} to the camera's frame {camera_frame!r}; its frames are: "
            f"{', '.join(names)}; set --frame, or record the transform that is missing"
        )
    inverse = [(edges[name].trajectory, True) for name in down[: down.index(common)]]
    forward = [(edges[name].trajectory, False) for name in up[: up.index(common)]]
    return TrajectoryChain((*inverse, *reversed(forward)))


def topic_poses(bag: Bag, topic: str, camera_frame: str, options: TrajectoryOptions) -> tuple[TrajectoryChain, str]:
    """Returns the pose of a camera from a topic of poses or odometry, and the name of the frame that they are in.

    Args:
        bag: The recording.
        topic: Topic of one of ``POSE_TYPES``. If its child frame is not the camera's, static TF must connect them.
        camera_frame: ``frame_id`` of the images.
        options: How the poses are given.

    Raises:
        InputError: There are no such poses.
    """
    connections = [connection for connection in bag.of_type(*POSE_TYPES) if connection.topic == topic]
    if not connections:
        names = ", ".join(sorted({connection.topic for connection in bag.of_type(*POSE_TYPES)})) or "none"
        raise InputError(f"{bag.path}: no poses on {topic} (topics with poses: {names}); set --camera-poses")
    times, values, frame, child = [], [], "", ""
    for connection, received, data in bag.messages(connections):
        message = bag.read(connection, data)
        times.append(_seconds(message.header, received))
        values.append(_pose_numbers(message, connection))
        frame, child = message.header.frame_id.lstrip("/"), getattr(message, "child_frame_id", "").lstrip("/")
    try:
        numbers = np.array(values).reshape(-1, 7)
        trajectory = options.applied(Trajectory.of(np.array(times), numbers[:, :3], numbers[:, 3:]))
    except ValueError as error:
        raise InputError(f"{bag.path}: the poses on {topic} cannot be used: {error}") from error
    if not child or child == camera_frame or options.mount:
        return TrajectoryChain(((trajectory, False),)), frame
    mount = tf_poses(bag, child, camera_frame)
    return TrajectoryChain(((trajectory, False), *mount.links)), frame


def _edges(bag: Bag) -> dict[str, _Edge]:
    """Returns the transforms of TF by the name of the child frame."""
    times: dict[str, list[float]] = defaultdict(list)
    values: dict[str, list[list[float]]] = defaultdict(list)
    parents: dict[str, str] = {}
    statics: dict[str, _Edge] = {}
    connections = bag.of_type(TF)
    if not connections:
        return {}
    for connection, received, data in bag.messages(connections):
        is_static = connection.topic.rpartition("/")[2] in _STATIC_TOPICS
        for transform in bag.read(connection, data).transforms:
            child, parent = transform.child_frame_id.lstrip("/"), transform.header.frame_id.lstrip("/")
            numbers = _transform_numbers(transform.transform)
            if is_static:
                statics[child] = _Edge(parent, Trajectory.static(_pose(numbers)))
            else:
                times[child].append(_seconds(transform.header, received))
                values[child].append(numbers)
                parents[child] = parent
    moving = {}
    for child, numbers_of_child in values.items():
        rows = np.array(numbers_of_child)
        try:
            moving[child] = _Edge(parents[child], Trajectory.of(np.array(times[child]), rows[:, :3], rows[:, 3:]))
        except ValueError as error:
            raise InputError(f"{bag.path}: the transform of {child} in TF cannot be used: {error}") from error
    return {**statics, **moving}


def _ancestors(edges: dict[str, _Edge], frame: str) -> list[str]:
    """Returns a frame and the frames above it."""
    names = [frame.lstrip("/")]
    while names[-1] in edges and edges[names[-1]].parent not in names:
        names.append(edges[names[-1]].parent)
    return names


def _seconds(header: Message, received: int) -> float:
    return message_stamp(header, received) / 1e9


def _pose_numbers(message: Message, connection: rosbag.Connection) -> list[float]:
    """Returns position and quaternion of a message of one of ``POSE_TYPES``."""
    if connection.msgtype == "geometry_msgs/msg/TransformStamped":
        return _transform_numbers(message.transform)
    pose = message.pose.pose if connection.msgtype in _IN_POSE else message.pose
    return _numbers(pose.position, pose.orientation)


def _transform_numbers(transform: Message) -> list[float]:
    return _numbers(transform.translation, transform.rotation)


def _numbers(position: Message, q: Message) -> list[float]:
    return [position.x, position.y, position.z, q.x, q.y, q.z, q.w]


def _pose(numbers: list[float]) -> Pose:
    trajectory = Trajectory.of(np.zeros(1), np.array([numbers[:3]]), np.array([numbers[3:]]))
    return Pose(trajectory.rotations[0].as_matrix(), trajectory.positions[0])
