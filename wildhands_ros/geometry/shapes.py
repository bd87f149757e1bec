"""Geometric primitives, such as the parts of a simulated robot."""

from __future__ import annotations

from dataclasses import dataclass

from .pose import Pose


@dataclass(frozen=True)
class Shape:
    """A geometric primitive with a pose and a colour."""

    kind: str
    """``box``, ``cylinder``, ``capsule`` or ``sphere``."""
    size: tuple[float, float, float]
    """Half sizes of a box; otherwise radius and half length along z of a cylinder or capsule (without its caps)."""
    colour: tuple[float, float, float]
    """RGB from 0 to 1."""
    pose: Pose
