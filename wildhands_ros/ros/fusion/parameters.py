"""The parameters of the fusion node, read once into a frozen dataclass."""

from __future__ import annotations

import re
from dataclasses import Field, dataclass

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ...config import SmoothingConfig
from ...io.extrinsics_files import Extrinsics, load_extrinsics
from ...types import HandLength, Side
from .. import shared_parameters
from ..declaration import ParameterError, check_choices, declare_fields, describe, parameter

CHANGEABLE = ("hand", "hand_length")
"""Parameters that can be set at run time."""
GIVEN_STDDEV = 0.01
"""Standard deviation of a given hand length as a fraction: fingers are measured by hand."""


@dataclass(frozen=True)
class FusionParameters:
    """Values of the fusion node's parameters. A field's name has ``__`` where the ROS name has a dot."""

    autostart: bool = shared_parameters.autostart()
    bond_heartbeat_period: float = shared_parameters.bond_heartbeat_period()
    cameras: tuple[str, ...] = parameter(
        ("left", "right"),
        "Names of the cameras, at least two. The hands of each are received on <name>/hands, the topic of a "
        "wildhands_node in that namespace.",
    )
    frame: str = parameter(
        "",
        "TF frame in which hands are fused and published, such as world or the base of a robot. Empty: the frame of "
        "the extrinsics file, or without one the optical frame of the first camera.",
    )
    extrinsics: str = parameter(
        "",
        "File with the poses of the cameras, as wildhands calibrate-cameras writes it. Empty: they are looked up in "
        "TF (needs tf2_ros).",
    )
    tolerance: float = parameter(
        0.02,
        "Largest difference between the stamps of images that are fused. Hands are moved to one moment along their "
        "velocity.",
        "s",
        (0.0, 0.5),
    )
    max_wait: float = parameter(
        0.05, "Longest time for which hands of one camera wait for those of the others.", "s", (0.0, 1.0)
    )
    max_age: float = parameter(
        0.5, "Age of the images above which their hands are not used. 0: any age, for bags.", "s", (0.0, 10.0)
    )
    hand_model: str = parameter("open", "Hand model of the camera nodes: open, or a folder with MANO files.")
    hand_length: float = parameter(
        0.0,
        "Distance from the wrist to the tip of the middle finger of the user's stretched hand. 0: learned from what "
        "the cameras see.",
        "m",
        (0.0, 0.3),
    )
    hand: str = shared_parameters.hand()
    smoothing__enabled: bool = shared_parameters.smoothing_enabled()
    smoothing__min_cutoff: float = shared_parameters.smoothing_min_cutoff()
    smoothing__beta: float = shared_parameters.smoothing_beta()
    smoothing__max_cutoff: float = shared_parameters.smoothing_max_cutoff()
    publish_vertices: bool = shared_parameters.publish_vertices()
    tf: str = shared_parameters.tf()
    tf_basis: str = shared_parameters.tf_basis()
    tf_prefix: str = parameter("fused_", "Prefix of the names of the frames on /tf.")

    def check(self) -> None:
        """Checks the values that rclpy does not check.

        Raises:
            ParameterError: a value is not one of the choices, or two values contradict each other.
        """
        check_choices(self)
        invalid = [name for name in self.cameras if not re.fullmatch(r"/?[A-Za-z]\w*(/[A-Za-z]\w*)*", name)]
        if len(self.cameras) < 2 or invalid or len(set(self.cameras)) < len(self.cameras):
            raise ParameterError(
                f"parameter cameras is {list(self.cameras)}; it must be at least two distinct names such as left, right"
            )

    def load_extrinsics(self) -> Extrinsics | None:
        """Reads the poses of the cameras; None if they are looked up in TF.

        Raises:
            ValueError, OSError: the file cannot be read, or cameras are missing in it.
        """
        if not self.extrinsics:
            return None
        found = load_extrinsics(self.extrinsics)
        if missing := [name for name in self.cameras if name not in found.poses]:
            raise ParameterError(
                f"{self.extrinsics} has no camera {', '.join(missing)}: it has {', '.join(found.poses)}"
            )
        if self.frame and self.frame != found.frame:
            raise ParameterError(
                f"parameter frame is {self.frame}, but the poses in {self.extrinsics} are in {found.frame}"
            )
        return found

    @property
    def smoothing(self) -> SmoothingConfig | None:
        """The strength of smoothing; None if hands are not smoothed."""
        return shared_parameters.smoothing_config(self)

    @property
    def known_lengths(self) -> dict[Side, HandLength]:
        """The given length of the hands; empty if it is unknown."""
        if not self.hand_length:
            return {}
        return {side: HandLength(self.hand_length, GIVEN_STDDEV * self.hand_length) for side in Side}


def _descriptor(item: Field) -> ParameterDescriptor:
    return describe(item, "A change takes effect at once." if item.name in CHANGEABLE else "")


def declare(node: Node) -> FusionParameters:
    """Declares all parameters and reads them; all but ``CHANGEABLE`` are read-only.

    Raises:
        ParameterError: a value has the wrong type, is out of range, is not one of the choices, or contradicts another
            one.
    """
    parameters = FusionParameters(**declare_fields(node, FusionParameters, _descriptor))
    parameters.check()
    return parameters
