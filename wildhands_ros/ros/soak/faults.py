"""Faults around the node, injected by a ``Robot``: for ``wildhands soak``, the tests and docs/faults.md."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from ...msg import HandArray
from .robot import Robot, halve, paint

ERROR_COLOUR, OUT_OF_MEMORY_COLOUR = bytes((255, 0, 254)), bytes((254, 0, 255))
"""Colours of images on which the estimator of ``soak.node`` raises an error, or runs out of memory."""

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP


def _do_nothing(robot: Robot) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """One fault and what the node does about it."""

    description: str
    shows: str
    """The counter of the diagnostics that increases, such as "rejected: empty_image", or "message: " and a part of
    the message."""
    reaction: str
    begin: Callable[[Robot], object]
    end: Callable[[Robot], object] = _do_nothing
    """Called before ``Robot.heal``, for faults that ``heal`` does not end."""

    def seen(self, robot: Robot, before: int) -> bool:
        """Returns whether the diagnostics show the fault, given the value of the counter before."""
        kind, _, words = self.shows.partition("message: ")
        return robot.count(self.shows) > before if kind else words in robot.diagnostics.get("message", "")


def _set(**attributes: object) -> Callable[[Robot], None]:
    """Sets attributes of the robot."""

    def begin(robot: Robot) -> None:
        for name, value in attributes.items():
            setattr(robot, name, value)

    return begin


def _set_in_image(**fields: object) -> Callable[[Robot], None]:
    """Sets fields of the image message."""

    def alter(image: Image) -> None:
        for name, value in fields.items():
            setattr(image, name, value)

    return _set(alter_image=alter)


def _paint(colour: bytes) -> Callable[[Robot], None]:
    return _set(alter_image=lambda image: paint(image, colour))


def _set_k(*values: float) -> Callable[[Robot], None]:
    """Sets K of CameraInfo: its first two rows, or one value for all numbers."""

    def alter(info: CameraInfo) -> None:
        info.k = [*values, 0.0, 0.0, 1.0] if len(values) == 6 else [values[0]] * 9

    return _set(alter_info=alter)


def _set_info(**fields: object) -> Callable[[Robot], None]:
    """Sets fields of CameraInfo."""

    def alter(info: CameraInfo) -> None:
        for name, value in fields.items():
            setattr(info, name, value)

    return _set(alter_info=alter)


def _halve_image_and_info(robot: Robot) -> None:
    """Switches the camera to another mode, with a CameraInfo that fits."""

    def alter(info: CameraInfo) -> None:
        info.height //= 2

    robot.alter_image, robot.alter_info = halve, alter


def _enable(data: bool) -> Callable[[Robot], object]:
    return lambda robot: robot.call(SetBool, "enable", SetBool.Request(data=data))


def _change_state(*transitions: int) -> Callable[[Robot], None]:
    return lambda robot: robot.change_state(*transitions)


def _subscribe_with_incompatible_qos(robot: Robot) -> None:
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    subscription = robot.node.create_subscription(HandArray, f"{robot.namespace}/hands", lambda message: None, qos)
    robot.spin(lambda: robot.count("rejected: incompatible_qos") > 0, 10)
    robot.node.destroy_subscription(subscription)


BAD_INFO = "rejected: bad_camera_info"
UNSUPPORTED = "rejected: unsupported_encoding"
TRUNCATED = "rejected: truncated_image"
REJECTS = "Rejects images until the next valid one"
NEW_STREAM = "Forgets the hands and starts again; nothing of the old ones influences the new ones"

FAULTS: dict[str, Fault] = {
    "deactivate": Fault(
        "A lifecycle manager deactivates the node",
        "message: inactive",
        "Frees the model, and loads it again when it is activated",
        _change_state(DEACTIVATE),
        _change_state(ACTIVATE),
    ),
    "reconfigure": Fault(
        "The node is cleaned up and configured again",
        "message: unconfigured",
        "Removes its outputs, and reads its parameters again",
        _change_state(DEACTIVATE, CLEANUP),
        _change_state(CONFIGURE, ACTIVATE),
    ),
    "pause": Fault(
        "`~/enable` is called with false",
        "message: paused",
        "Unsubscribes from all inputs; continues at once when enabled",
        _enable(False),
        _enable(True),
    ),
    "reset_tracks": Fault(
        "`~/reset_tracks` is called",
        "resets: requested",
        NEW_STREAM,
        lambda robot: robot.call(Trigger, "reset_tracks", Trigger.Request()),
    ),
    "k_zero": Fault("CameraInfo of an uncalibrated camera: K is zero", BAD_INFO, REJECTS, _set_k(0.0)),
    "k_nan": Fault("NaN in K", BAD_INFO, REJECTS, _set_k(float("nan"))),
    "k_negative": Fault(
        "A negative focal length in K", BAD_INFO, REJECTS, _set_k(-500.0, 0.0, 320.0, 0.0, 500.0, 180.0)
    ),
    "huge_binning": Fault(
        "A binning of 2^32 - 1 in CameraInfo", "rejected: bad_binning", REJECTS, _set_info(binning_x=2**32 - 1)
    ),
    "many_coefficients": Fault(
        "1000 distortion coefficients in CameraInfo", "rejected: bad_distortion", REJECTS, _set_info(d=[0.1] * 1000)
    ),
    "folding_lens": Fault(
        "Distortion coefficients that fold the image",
        "rejected: lens_folds",
        REJECTS,
        _set_info(distortion_model="plumb_bob", d=[-2500.0, -800.0, 0.0, 0.0, 0.0]),
    ),
    "no_camera_info": Fault(
        "Images of another camera that has no CameraInfo",
        "rejected: no_camera_info",
        "Never uses the calibration of another camera",
        _set(frame_id="other_optical", sends_info=False),
    ),
    "other_aspect": Fault(
        "The image size changes, but not CameraInfo",
        BAD_INFO,
        REJECTS,
        _set(alter_image=halve),
    ),
    "other_size": Fault(
        "The image size changes together with CameraInfo",
        "resets: size_changed",
        NEW_STREAM,
        _halve_image_and_info,
    ),
    "camera_swap": Fault(
        "Another camera on the same topics: frame and CameraInfo change",
        "resets: frame_changed",
        NEW_STREAM,
        _set(frame_id="other_optical"),
    ),
    "depth_encoding": Fault("The encoding of a depth image", UNSUPPORTED, REJECTS, _set_in_image(encoding="32FC1")),
    "no_encoding": Fault("An empty encoding", UNSUPPORTED, REJECTS, _set_in_image(encoding="")),
    "truncated_data": Fault(
        "Less data than width, height and step require",
        TRUNCATED,
        REJECTS,
        _set_in_image(data=array("B", bytes(1000))),
    ),
    "short_step": Fault("A step shorter than a row", TRUNCATED, REJECTS, _set_in_image(step=7)),
    "huge_height": Fault(
        "A height far beyond the data",
        TRUNCATED,
        "Rejects the image before it allocates memory",
        _set_in_image(height=2**31),
    ),
    "empty_image": Fault(
        "An image of size zero",
        "rejected: empty_image",
        REJECTS,
        _set_in_image(width=0, height=0, data=array("B")),
    ),
    "clock_back": Fault(
        "A bag starts over, or the clock is set back",
        "resets: clock_jumped_back",
        NEW_STREAM,
        _set(stamp_offset=-1000.0),
    ),
    "clock_forward": Fault(
        "The clock is set forward", "resets: clock_jumped_forward", NEW_STREAM, _set(stamp_offset=1000.0)
    ),
    "zero_stamps": Fault(
        "Zero stamps",
        "resets: stamps_changed",
        "Uses the times of receipt; ages are unknown; the headers of the outputs keep the zero stamps",
        _set(has_stamps=False),
    ),
    "out_of_order": Fault(
        "Images that are older than the previous one",
        "rejected: out_of_order",
        "Rejects up to three in a row; more start a new stream",
        _set(out_of_order=True),
    ),
    "publisher_death": Fault(
        "The camera driver dies, and is restarted", "message: no publisher on", "Waits", Robot.stop_camera
    ),
    "incompatible_qos": Fault(
        "A subscription requests a durability that `hands` does not offer",
        "rejected: incompatible_qos",
        "Names the topic and the policy",
        _subscribe_with_incompatible_qos,
    ),
    "inference_error": Fault(
        "An exception in the estimator",
        "rejected: internal_error",
        "Drops the frame, logs the traceback and forgets the hands",
        _paint(ERROR_COLOUR),
    ),
    "out_of_memory": Fault(
        "The device runs out of memory for a frame",
        "rejected: out_of_memory",
        "Drops the frame and continues with the next one",
        _paint(OUT_OF_MEMORY_COLOUR),
    ),
}
"""By name."""


def fault_table() -> str:
    """Returns the table in docs/faults.md."""
    lines = ["| fault | what the node does | in diagnostics | tested as |", "|---|---|---|---|"]
    for name, fault in FAULTS.items():
        shows = fault.shows.removeprefix("message: ")
        lines.append(f"| {fault.description} | {fault.reaction} | `{shows}` | `{name}` |")
    return "\n".join(lines) + "\n"
