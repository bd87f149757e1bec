"""The frames of an annotated bag: what is known of all of them, and access to the images and hands of single ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import rosbags.interfaces as rosbag

from ...geometry.pose import Pose
from ...io.errors import InputError, foreign_bytes
from ...recording.bags import IMAGE_TYPES, Bag
from ...recording.demonstrations import CAMERA_POSE_TOPIC, KIND
from ...recording.message import SIDE_OF_VALUE, Message, message_stamp
from ...recording.report import ReportedHand
from ...types import DepthStatus, Doubt, HandState
from ..images import decode
from ..messages import DEPTH_OF_VALUE
from .annotated_bags import HANDS_TOPIC

STATES = tuple(HandState)
"""In the order of the values of ``state`` in ``wildhands_ros/msg/Hand``."""

SEARCH = 10**9
"""Nanoseconds within which an image and its hands were received. Annotation writes both with one time; a node that was
recorded publishes hands after the image."""


@dataclass(frozen=True)
class IndexedFrame:
    """What is kept in memory of a frame."""

    stamp: int
    """Nanoseconds."""
    received: int
    """When the hands were received, in nanoseconds."""
    hands: list[ReportedHand]
    camera_pose: Pose | None
    """Pose of the camera in the fixed frame; None if it is unknown."""


@dataclass(frozen=True)
class RecordingIndex:
    """All frames with a HandArray, by stamp."""

    frames: list[IndexedFrame]
    fixed_frame: str
    """TF frame of the poses of the camera; empty if there are none."""
    hand_model: str
    """Name of the hand model of the estimates."""


def index_recording(bag: Bag) -> RecordingIndex:
    """Reads the hands of an opened annotated bag. Those of unknown side are left out.

    Raises:
        InputError: there are none, or their messages have impossible values.
    """
    with foreign_bytes(bag.path, KIND):
        return _index(bag)


def _index(bag: Bag) -> RecordingIndex:
    hands: dict[int, list[ReportedHand]] = {}
    received_at: dict[int, int] = {}
    poses: dict[int, Pose] = {}
    fixed_frame = hand_model = ""
    topics = [topic for topic in bag.connections if topic.topic in (HANDS_TOPIC, CAMERA_POSE_TOPIC)]
    for topic, received, data in bag.messages(topics) if topics else ():
        message = bag.read(topic, data)
        stamp = message_stamp(message.header, received)
        if topic.topic == CAMERA_POSE_TOPIC:
            poses[stamp] = Pose.from_message(message.pose.position, message.pose.orientation)
            fixed_frame = str(message.header.frame_id)
        else:
            hands[stamp], received_at[stamp] = (
                [_reported(hand) for hand in message.hands if hand.side in SIDE_OF_VALUE],
                received,
            )
            hand_model = str(message.hand_model)
    if not hands:
        raise InputError(f"{bag.path}: there are no hands on {HANDS_TOPIC}: run wildhands annotate on it first")
    frames = [
        IndexedFrame(stamp, received_at[stamp], _placed(hands[stamp], poses.get(stamp)), poses.get(stamp))
        for stamp in sorted(hands)
    ]
    return RecordingIndex(frames, fixed_frame, hand_model)


def _reported(hand: Message) -> ReportedHand:
    """Returns what the report needs of a hand, in the camera frame."""
    wrist = np.array(hand.joints[:3], np.float64)
    if not np.isfinite(wrist).all():
        raise ValueError(f"the wrist of a hand is {wrist.tolist()}")
    return ReportedHand(
        SIDE_OF_VALUE[hand.side],
        hand.id,
        STATES[hand.state],
        Doubt(int(hand.doubts)),
        bool(hand.usable),
        wrist,
        float(np.linalg.norm(wrist)),
        float(np.mean(hand.joints_visibility)),
        DEPTH_OF_VALUE.get(hand.depth, DepthStatus.NONE),
        len(hand.views),
        float(hand.hand_length),
        _distance_stddev(wrist, np.array(hand.wrist.covariance, np.float64).reshape(6, 6)),
    )


def _distance_stddev(wrist: np.ndarray, covariance: np.ndarray) -> float:
    """Returns the standard deviation of the distance of a (3,) wrist with a (6, 6) covariance; NaN if it is unknown."""
    ray = wrist / max(float(np.linalg.norm(wrist)), 1e-6)
    variance = float(ray @ covariance[:3, :3] @ ray)
    return math.sqrt(variance) if 0 < variance < math.inf and covariance[0, 0] > 0 else math.nan


def _placed(hands: list[ReportedHand], camera: Pose | None) -> list[ReportedHand]:
    """Returns the hands with their wrists in the fixed frame, if the pose of the camera in it is known."""
    return hands if camera is None else [replace(hand, wrist=camera.apply(hand.wrist)) for hand in hands]


@dataclass(frozen=True)
class RecordedFrame:
    """What a bag contains for one image."""

    image: np.ndarray | None
    """(H, W, 3) uint8 RGB; None if the bag does not have it."""
    hands: Message | None
    """The HandArray in the camera frame; None if the bag does not have it."""


def read_frame(bag: Bag, stamp: int, received: int) -> RecordedFrame:
    """Reads the frame with a stamp.

    Args:
        bag: an opened annotated bag.
        stamp: stamp of the image in nanoseconds.
        received: when its hands were received, in nanoseconds.
    """
    wanted = [
        topic
        for topic in bag.connections
        if topic.topic == HANDS_TOPIC or (topic.msgtype in IMAGE_TYPES and _is_camera(topic.topic))
    ]
    found = _search(bag, wanted, stamp, received)
    return found if found.image is not None else _search(bag, wanted, stamp, received - SEARCH)


def _search(bag: Bag, topics: Sequence[rosbag.Connection], stamp: int, start: int) -> RecordedFrame:
    image = hands = None
    for topic, at, data in bag.messages(topics, start):
        if at > start + 2 * SEARCH:
            break
        message = bag.read(topic, data)
        if message_stamp(message.header, at) != stamp:
            continue
        if topic.topic == HANDS_TOPIC:
            hands = message
        else:
            image = decode(message, topic.msgtype)
        if image is not None and hands is not None:
            break
    return RecordedFrame(image, hands)


def _is_camera(topic: str) -> bool:
    """Returns whether a topic of images is that of a camera, not of the node's overlay or of a depth camera."""
    return "debug_image" not in topic and "depth" not in topic
