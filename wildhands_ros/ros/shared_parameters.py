"""The parameters that the camera node and the fusion node share. Each function returns the field of one parameter."""

from __future__ import annotations

from typing import Any, Protocol

from ..config import SmoothingConfig
from .declaration import parameter

SMOOTHING = SmoothingConfig()
"""Default strength of smoothing."""


class SmoothingParameters(Protocol):
    """The fields of a node's parameters from which ``smoothing_config`` is made."""

    @property
    def smoothing__enabled(self) -> bool: ...
    @property
    def smoothing__min_cutoff(self) -> float: ...
    @property
    def smoothing__beta(self) -> float: ...
    @property
    def smoothing__max_cutoff(self) -> float: ...


def autostart() -> Any:
    """Returns the field ``autostart``."""
    return parameter(
        True,
        "Whether the node configures and activates itself. If false, a lifecycle manager or ros2 lifecycle has to do "
        "it.",
        fixed=True,
    )


def bond_heartbeat_period() -> Any:
    """Returns the field ``bond_heartbeat_period``."""
    return parameter(
        0.25,
        "Period of the heartbeats by which nav2's lifecycle manager notices that the node has died (its parameter "
        "bond_timeout); they need the package bond. 0: no heartbeats.",
        "s",
        (0.0, 60.0),
        fixed=True,
    )


def hand() -> Any:
    """Returns the field ``hand``."""
    return parameter(
        "",
        "Name of a person whose hand lengths were saved (wildhands calibrate-hand, service save_hand); they are "
        "loaded, and learning continues from them. Empty: unknown.",
    )


def publish_vertices() -> Any:
    """Returns the field ``publish_vertices``."""
    return parameter(True, "Whether the topic hands contains the meshes (9 kB for each hand).")


def tf() -> Any:
    """Returns the field ``tf``."""
    return parameter(
        "joints",
        "Frames that are published on /tf: off, wrist, or joints (all 21).",
        choices=("off", "wrist", "joints"),
    )


def tf_basis() -> Any:
    """Returns the field ``tf_basis``."""
    return parameter(
        "mano",
        "Axes of the frames on /tf. mano: those of the hand model's rest pose; operator: x out of the palm of a flat "
        "hand, z towards the fingertips.",
        choices=("mano", "operator"),
    )


def smoothing_enabled() -> Any:
    """Returns the field ``smoothing__enabled``."""
    return parameter(
        True, "Whether hands are smoothed over time (One-Euro filter). If false, each image is estimated as it is."
    )


def smoothing_min_cutoff() -> Any:
    """Returns the field ``smoothing__min_cutoff``."""
    return parameter(
        SMOOTHING.position.rest,
        "Cutoff frequency for hands at rest. A lower value smooths more.",
        "Hz",
        (0.01, 100.0),
        fixed=True,
    )


def smoothing_beta() -> Any:
    """Returns the field ``smoothing__beta``."""
    return parameter(
        SMOOTHING.position.per_speed,
        "Increase of the cutoff frequency for each m/s of the wrist's speed; in proportion for rotations. A higher "
        "value reduces the lag in slow motion.",
        "Hz",
        (0.0, 1000.0),
        fixed=True,
    )


def smoothing_max_cutoff() -> Any:
    """Returns the field ``smoothing__max_cutoff``."""
    return parameter(
        SMOOTHING.position.most,
        "Highest cutoff frequency f of the wrist's position, half of it for rotations. The lag in fast motion is 1 / "
        "(2 pi f) s.",
        "Hz",
        (0.01, 1000.0),
        fixed=True,
    )


def smoothing_config(parameters: SmoothingParameters) -> SmoothingConfig | None:
    """Returns the strength of smoothing; None if hands are not smoothed."""
    if not parameters.smoothing__enabled:
        return None
    return SMOOTHING.with_cutoffs(
        parameters.smoothing__min_cutoff, parameters.smoothing__beta, parameters.smoothing__max_cutoff
    )
