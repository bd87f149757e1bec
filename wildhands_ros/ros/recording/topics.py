"""Finds the topics of a recording: images, depth images, CameraInfo."""

from __future__ import annotations

import rosbags.interfaces as rosbag

from ...io.errors import InputError
from ...recording.bags import IMAGE_TYPES, Bag
from ...recording.message import Message

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_DEPTH_ENCODINGS = ("16UC1", "32FC1")
_TRANSPORTS = ("/compressedDepth", "/compressed")
"""Ends of the names of topics of compressed images."""


def topics_with_messages(bag: Bag, *message_types: str) -> dict[str, rosbag.Connection]:
    """Returns the topics of these types that have messages, by name."""
    return {
        connection.topic: connection
        for connection in bag.of_type(*message_types)
        if connection.msgcount or connection.msgcount is None
    }


def first_message(bag: Bag, topic: rosbag.Connection) -> Message:
    """Returns the first message of a topic.

    Raises:
        InputError: There is none.
    """
    for connection, _, data in bag.messages([topic]):
        return bag.read(connection, data)
    raise InputError(f"{bag.path}: there is no message on {topic.topic}: give --camera-info FILE, or --fov")


def namespace(topic: str) -> str:
    """Returns the namespace of a topic of images, whatever its transport."""
    for transport in _TRANSPORTS:
        topic = topic.removesuffix(transport)
    return topic.rpartition("/")[0]


def depth_topics(bag: Bag) -> dict[str, rosbag.Connection]:
    """Returns the topics whose first image is a depth image, by name."""
    return {name: topic for name, topic in topics_with_messages(bag, *IMAGE_TYPES).items() if _is_depth(bag, topic)}


def image_topic(bag: Bag, name: str, within: str = "") -> rosbag.Connection:
    """Finds a topic of colour images.

    Args:
        bag: The recording.
        name: Its name; empty for the only one.
        within: Namespace of the topic, if its name is empty; empty for any.

    Raises:
        InputError: There is no such topic, or there are several.
    """
    found = topics_with_messages(bag, *IMAGE_TYPES)
    if name:
        if name not in found:
            raise InputError(
                f"{bag.path}: no images on {name}; it has images on: {', '.join(sorted(found)) or 'no topic'}"
            )
        return found[name]
    # The overlay of the node is not a camera.
    names = [each for each in sorted(found) if "debug_image" not in each and each.startswith(f"{within}/")]
    if len(names) > 1:
        names = [each for each in names if not _is_depth(bag, found[each])]
    if len(names) == 1:
        return found[names[0]]
    if not names:
        raise InputError(f"{bag.path}: no topic with images" + (f" in the namespace {within}" if within else ""))
    option = f"--cameras {within.lstrip('/')}=TOPIC" if within else "--image TOPIC"
    raise InputError(f"{bag.path}: images on {', '.join(names)}: choose one with {option}")


def info_topic(bag: Bag, images: str) -> rosbag.Connection:
    """Finds the CameraInfo topic in the namespace of the images, or the only one.

    Raises:
        InputError: There is none, or several may be meant.
    """
    found = topics_with_messages(bag, CAMERA_INFO)
    if f"{namespace(images)}/camera_info" in found:
        return found[f"{namespace(images)}/camera_info"]
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(sorted(found)) or "none"
    raise InputError(
        f"{bag.path}: no CameraInfo that belongs to {images} (in the bag: {names}): give --camera-info FILE, or "
        "--fov if there is no calibration"
    )


def _is_depth(bag: Bag, topic: rosbag.Connection) -> bool:
    try:
        message = first_message(bag, topic)
    except InputError:
        return False
    if hasattr(message, "encoding"):
        return message.encoding in _DEPTH_ENCODINGS
    return "compressedDepth" in message.format
