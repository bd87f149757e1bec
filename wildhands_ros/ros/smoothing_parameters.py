"""The parameters of smoothing, which the camera node and the fusion node share."""

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


def enabled() -> Any:
    """Returns the field ``smoothing__enabled``."""
    return parameter(
        True, "Whether hands are smoothed over time (One-Euro filter). If false, each image is estimated as it is."
    )


def min_cutoff() -> Any:
    """Returns the field ``smoothing__min_cutoff``."""
    return parameter(
        SMOOTHING.position.rest,
        "Cutoff frequency for hands at rest. A lower value smooths more.",
        "Hz",
        (0.01, 100.0),
        fixed=True,
    )


def beta() -> Any:
    """Returns the field ``smoothing__beta``."""
    return parameter(
        SMOOTHING.position.per_speed,
        "Increase of the cutoff frequency for each m/s of the wrist's speed; in proportion for rotations. A higher "
        "value reduces the lag in slow motion.",
        "Hz",
        (0.0, 1000.0),
        fixed=True,
    )


def max_cutoff() -> Any:
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
