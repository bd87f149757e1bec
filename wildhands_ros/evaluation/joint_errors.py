"""Errors of the joints of hands in space, and how well their standard deviations describe them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .metrics import median_and_p95, mpjpe


@dataclass
class JointErrors:
    """Errors of hands, in the order in which they were added."""

    joints: list[np.ndarray] = field(default_factory=list)
    """(21, 3) differences to the labels in metres."""
    stddev: list[np.ndarray] = field(default_factory=list)
    """(21, 3) metres, as estimated."""
    relative: list[float] = field(default_factory=list)
    """Mean error of the joints relative to the wrist in millimetres."""

    def add(self, label: np.ndarray, joints: np.ndarray, stddev: np.ndarray) -> None:
        """Adds a hand: (21, 3) true joints, estimated ones, and their standard deviations, in metres."""
        self.joints.append(joints - label)
        self.stddev.append(stddev)
        self.relative.append(1000 * mpjpe(joints, label))

    def figures(self) -> dict[str, Any]:
        """Returns the figures: {"hands": 0} without hands."""
        if not self.joints:
            return {"hands": 0}
        errors = np.array(self.joints)
        distances, sigmas = 1000 * np.linalg.norm(errors, axis=2), np.abs(errors) / np.array(self.stddev)
        return {
            "hands": len(errors),
            "wrist_mm": median_and_p95(distances[:, 0]),
            "joints_mm": median_and_p95(distances),
            "mpjpe_mm": float(np.mean(self.relative)),
            "coverage_68": float(100 * (sigmas < 1).mean()),
            "coverage_95": float(100 * (sigmas < 2).mean()),
            "coverage_68_axes": (100 * (sigmas < 1).mean(axis=(0, 1))).tolist(),
            "coverage_95_axes": (100 * (sigmas < 2).mean(axis=(0, 1))).tolist(),
        }
