"""What can go wrong around the node, as faults of a ``Robot``: for `wildhands soak`, the tests and docs/faults.md."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from lifecycle_msgs.msg import Transition
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from ...msg import HandArray
from .robot import Robot, halve, paint

RAISE, EXHAUST = bytes((255, 0, 254)), bytes((254, 0, 255))
"""Colours of pictures at which the estimator in ``node`` raises an error, or finds no memory."""

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and what the node does about it."""

    what: str
    shows: str
    """The count of the diagnostics that rises, as "rejected: empty_image"; or, after "message: ", words of the message."""
    answer: str
    begin: Callable[[Robot], object]
    end: Callable[[Robot], object] = lambda robot: None
    """Before ``Robot.heal``, where that does not suffice."""

    def seen(self, robot: Robot, before: int) -> bool:
        """Whether diagnostics show it, where the count was ``before``."""
        kind, _, words = self.shows.partition("message: ")
        return robot.count(self.shows) > before if kind else words in robot.diagnostics.get("message", "")


def _image(**fields) -> Callable[[Robot], None]:
    def alter(image: Image) -> None:
        for name, value in fields.items():
            setattr(image, name, value)

    return lambda robot: setattr(robot, "alter_image", alter)


def _with_image(alter: Callable[[Image], object]) -> Callable[[Robot], None]:
    return lambda robot: setattr(robot, "alter_image", alter)


def _k(*values: float) -> Callable[[Robot], None]:
    def alter(info) -> None:
        info.k = [*values, 0.0, 0.0, 1.0] if len(values) == 6 else [values[0]] * 9

    return lambda robot: setattr(robot, "alter_info", alter)


def _half_size(robot: Robot) -> None:
    """Another mode of the driver, with its CameraInfo."""

    def window(info) -> None:
        info.height //= 2

    robot.alter_image, robot.alter_info = halve, window


def _set(**fields) -> Callable[[Robot], None]:
    def begin(robot: Robot) -> None:
        for name, value in fields.items():
            setattr(robot, name, value)

    return begin


def _enable(data: bool) -> Callable[[Robot], object]:
    return lambda robot: robot.call(SetBool, "enable", SetBool.Request(data=data))


def _transitions(*transitions: int) -> Callable[[Robot], None]:
    return lambda robot: robot.change_state(*transitions)


def _deaf_listener(robot: Robot) -> None:
    wanted = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener = robot.node.create_subscription(HandArray, f"{robot.namespace}/hands", lambda message: None, wanted)
    robot.spin(lambda: robot.count("rejected: incompatible_qos") > 0, 10)
    robot.node.destroy_subscription(listener)


BAD_INFO, UNKNOWN, TRUNCATED = (
    "rejected: bad_camera_info",
    "rejected: unsupported_encoding",
    "rejected: truncated_image",
)
REFUSED = "Images are refused until the next good one"
NEW_STREAM = "Hands are forgotten and found anew; none of the old ones' numbers go into the new ones'"

FAULTS: dict[str, Fault] = {
    "deactivate": Fault(
        "A lifecycle manager deactivates the node",
        "message: inactive",
        "Frees the model; loads it anew when it is activated",
        _transitions(DEACTIVATE),
        _transitions(ACTIVATE),
    ),
    "reconfigure": Fault(
        "The node is taken down and up again",
        "message: unconfigured",
        "Takes its outputs back; reads its parameters anew",
        _transitions(DEACTIVATE, CLEANUP),
        _transitions(CONFIGURE, ACTIVATE),
    ),
    "pause": Fault(
        "`~/enable` with false", "message: paused", "Listens to nothing; goes on at once", _enable(False), _enable(True)
    ),
    "reset_tracks": Fault(
        "`~/reset_tracks`",
        "resets: requested",
        NEW_STREAM,
        lambda robot: robot.call(Trigger, "reset_tracks", Trigger.Request()),
    ),
    "k_zero": Fault("CameraInfo of an uncalibrated camera: K is zero", BAD_INFO, REFUSED, _k(0.0)),
    "k_nan": Fault("NaN in K", BAD_INFO, REFUSED, _k(float("nan"))),
    "k_negative": Fault("A negative focal length in K", BAD_INFO, REFUSED, _k(-500.0, 0.0, 320.0, 0.0, 500.0, 180.0)),
    "no_camera_info": Fault(
        "Images of another camera, whose CameraInfo never comes",
        "rejected: no_camera_info",
        "No image gets another camera's calibration",
        _set(frame_id="other_optical", sends_info=False),
    ),
    "other_aspect": Fault(
        "Another image size in mid-stream, with the old CameraInfo",
        BAD_INFO,
        REFUSED,
        _with_image(halve),
    ),
    "other_size": Fault(
        "Another image size in mid-stream, with its CameraInfo", "resets: size_changed", NEW_STREAM, _half_size
    ),
    "camera_swap": Fault(
        "Another camera on the same topics: frame and CameraInfo change",
        "resets: frame_changed",
        NEW_STREAM,
        _set(frame_id="other_optical"),
    ),
    "depth_encoding": Fault("A depth image's encoding", UNKNOWN, REFUSED, _image(encoding="32FC1")),
    "no_encoding": Fault("No encoding", UNKNOWN, REFUSED, _image(encoding="")),
    "truncated_data": Fault(
        "Less data than width, height and step announce", TRUNCATED, REFUSED, _image(data=array("B", bytes(1000)))
    ),
    "short_step": Fault("A step that is shorter than a row", TRUNCATED, REFUSED, _image(step=7)),
    "huge_height": Fault(
        "A height that no data can fill", TRUNCATED, "Refused before any memory is taken", _image(height=2**31)
    ),
    "empty_image": Fault(
        "An image of no size", "rejected: empty_image", REFUSED, _image(width=0, height=0, data=array("B"))
    ),
    "clock_back": Fault(
        "A bag starts over, or the clock is set back", "resets: clock_jumped_back", NEW_STREAM, _set(offset=-1000.0)
    ),
    "clock_forward": Fault("The clock is set forward", "resets: clock_jumped_forward", NEW_STREAM, _set(offset=1000.0)),
    "zero_stamps": Fault(
        "Stamps of zero",
        "resets: stamps_changed",
        "Times of arrival stand in; ages are unknown; headers stay as they are",
        _set(stamped=False),
    ),
    "out_of_order": Fault(
        "Images that are older than the one before",
        "rejected: out_of_order",
        "Refused, up to three in a row; more are a new stream",
        _set(shuffles=True),
    ),
    "publisher_death": Fault("The camera driver dies, and comes back", "message: nobody publishes", "Waits", Robot.die),
    "incompatible_qos": Fault(
        "A listener asks for another durability than `hands` has",
        "rejected: incompatible_qos",
        "Names the topic and the policy",
        _deaf_listener,
    ),
    "inference_error": Fault(
        "An exception inside of the estimator",
        "rejected: internal_error",
        "The frame is lost, the trace is logged, hands are forgotten",
        _with_image(lambda image: paint(image, RAISE)),
    ),
    "out_of_memory": Fault(
        "The device has no memory for a frame",
        "rejected: out_of_memory",
        "The frame is lost; the next one is tried",
        _with_image(lambda image: paint(image, EXHAUST)),
    ),
}
"""By name."""


def fault_table() -> str:
    """The table in docs/faults.md."""
    lines = ["| fault | what the node does | in diagnostics | tested as |", "|---|---|---|---|"]
    for name, fault in FAULTS.items():
        lines.append(f"| {fault.what} | {fault.answer} | `{fault.shows.removeprefix('message: ')}` | `{name}` |")
    return "\n".join(lines) + "\n"
