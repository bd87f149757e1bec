"""``wildhands report``: how good the hands of annotated recordings are, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...hand_model.joints import MEDIAPIPE_BONES
from ...io.errors import InputError
from ...io.files import OutputFile
from ...io.images import encode_image
from ...recording.bags import IMAGE_TYPES, Bag
from ...recording.demonstrations import CAMERA_POSE_TOPIC
from ...recording.message import Message
from ...recording.report import Recording, ReportedHand, recommendations, report_html
from ...types import Doubt, HandState, Side
from ...visualization.overlay import SIDE_COLOURS
from ..images import decode
from .annotated_bags import HANDS_TOPIC

STATES = tuple(HandState)
"""In the order of the values of ``state`` in ``wildhands_ros/msg/Hand``."""
SIDES = {1: Side.RIGHT, 2: Side.LEFT}
THUMBNAIL_WIDTH = 320


def write_reports(bags: Sequence[Path], output: Path) -> list[str]:
    """Writes the report of annotated recordings.

    Args:
        bags: Annotated bags.
        output: The new HTML file.

    Returns:
        What to record again, one sentence each.

    Raises:
        InputError: A bag has no hands.
        OSError: The output cannot be written.
    """
    with OutputFile(output) as partial:
        recordings = [read_recording(path) for path in bags]
        partial.write_text(report_html(recordings), encoding="utf-8")
    return [f"{each.name}: {sentence}" for each in recordings for sentence in recommendations(each)]


def read_recording(path: Path) -> Recording:
    """Reads the hands of an annotated bag.

    Raises:
        InputError: There are none.
    """
    arrays: dict[int, Message] = {}
    poses: dict[int, Message] = {}
    images: dict[int, int] = {}
    with Bag(path) as bag:
        topics = [topic for topic in bag.connections if topic.topic in (HANDS_TOPIC, CAMERA_POSE_TOPIC)]
        for topic, received, data in bag.messages(topics) if topics else ():
            message = bag.read(topic, data)
            if topic.topic == HANDS_TOPIC:
                stamp = _stamp(message, received)
                arrays[stamp], images[stamp] = message, received
            else:
                poses[_stamp(message, received)] = message.pose
    if not arrays:
        raise InputError(f"{path}: there are no hands on {HANDS_TOPIC}: run wildhands annotate on it first")
    stamps = sorted(arrays)
    hands = [[_hand(hand, poses.get(stamp)) for hand in arrays[stamp].hands] for stamp in stamps]

    def thumbnail(number: int) -> bytes | None:
        stamp = stamps[number]
        return _thumbnail(path, stamp, images[stamp], arrays[stamp])

    return Recording(path.name, (np.array(stamps) - stamps[0]) / 1e9, hands, thumbnail)


def _hand(hand: Message, camera_pose: Message | None) -> ReportedHand:
    wrist = np.array(hand.joints[:3], np.float64)
    place = wrist
    if camera_pose is not None:
        p, q = camera_pose.position, camera_pose.orientation
        place = _rotated(np.array([q.x, q.y, q.z]), q.w, wrist) + (p.x, p.y, p.z)
    return ReportedHand(
        SIDES[hand.side],
        hand.id,
        STATES[hand.state],
        Doubt(int(hand.doubts)),
        bool(hand.usable),
        place,
        float(np.linalg.norm(wrist)),
        float(np.mean(hand.joints_visibility)),
    )


def _rotated(axis: np.ndarray, w: float, vector: np.ndarray) -> np.ndarray:
    """Returns a (3,) vector rotated by the quaternion with the vector part ``axis`` and the scalar part ``w``."""
    cross = 2 * np.cross(axis, vector)
    return vector + w * cross + np.cross(axis, cross)


def _thumbnail(path: Path, stamp: int, received: int, hands: Message) -> bytes | None:
    """Returns a small JPEG of the image with a stamp, with its hands drawn on it."""
    with Bag(path) as bag:
        topics = [topic for topic in bag.of_type(*IMAGE_TYPES) if "debug_image" not in topic.topic]
        for topic, at, data in bag.messages(topics, received) if topics else ():
            message = bag.read(topic, data)
            if _stamp(message, at) == stamp:
                image = decode(message, topic.msgtype).copy()
                break
            if at > received + 10**9:
                return None
        else:
            return None
    for hand in hands.hands:
        points = np.reshape(hand.joints_2d, (21, 2))
        colour = SIDE_COLOURS[SIDES[hand.side]] if hand.usable else (220, 50, 70)
        for a, b in MEDIAPIPE_BONES:
            if np.isfinite(points[[a, b]]).all() and np.abs(points[[a, b]]).max() < 10000:
                ends = [tuple(int(value) for value in points[end]) for end in (a, b)]
                cv2.line(image, ends[0], ends[1], colour, max(image.shape[1] // 320, 1), cv2.LINE_AA)
    height = round(image.shape[0] * THUMBNAIL_WIDTH / image.shape[1])
    small = np.asarray(cv2.resize(image, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA))
    return encode_image(small, ".jpg")


def _stamp(message: Message, received: int) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec or received
