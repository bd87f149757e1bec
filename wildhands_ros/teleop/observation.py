"""What one frame says of the operator's hand, and whether a robot may be moved by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from ..types import Side

THUMB_TIP, INDEX_TIP = 4, 8
FINGERS = {"index": 5, "middle": 9, "ring": 13, "pinky": 17}
"""Each finger's base joint (MCP) in MediaPipe order; its tip comes three later."""


@dataclass(frozen=True)
class Pose:
    """A place and an orientation in the robot's target frame."""

    position: np.ndarray
    """(3,) metres."""
    rotation: Rotation

    def after(self, other: Pose) -> Pose:
        """This pose, given in the frame that ``other`` is the pose of, in the frame that ``other`` is given in."""
        return Pose(other.rotation.apply(self.position) + other.position, other.rotation * self.rotation)


@dataclass(frozen=True)
class HandObservation:
    """One hand of one frame."""

    side: Side
    track: str
    """Identifier of the track; empty without tracking."""
    wrist: Pose
    joints: np.ndarray
    """(21, 3) metres in MediaPipe order, in the frame of ``wrist``'s pose."""
    score: float = float("nan")
    """Confidence in [0, 1] that it is a hand; NaN where unknown."""
    side_score: float = float("nan")
    """Confidence in [0, 1] that ``side`` is right; NaN where unknown."""
    reprojection_error: float = float("nan")
    """As in ``HandEstimate``; NaN where unknown."""

    @property
    def pinch(self) -> float:
        """Metres between the tips of thumb and index."""
        return float(np.linalg.norm(self.joints[THUMB_TIP] - self.joints[INDEX_TIP]))

    @property
    def local_joints(self) -> np.ndarray:
        """(21, 3) joints in the hand model's rest frame, the wrist at the origin."""
        return self.wrist.rotation.inv().apply(self.joints - self.wrist.position)

    def seen_from(self, camera: Pose) -> HandObservation:
        """The same in the frame in which ``camera`` is the pose of this observation's frame."""
        joints = camera.rotation.apply(self.joints) + camera.position
        return replace(self, wrist=self.wrist.after(camera), joints=joints)


@dataclass(frozen=True)
class Trust:
    """From when on a hand is too doubtful to move a robot."""

    min_score: float = 0.5
    min_side_score: float = 0.6
    max_reprojection_error: float = 0.15
    """Fraction of the longer side of the hand's box."""

    def doubt(self, hand: HandObservation) -> str:
        """Why the hand is doubtful; empty where it is not. What the estimator could not judge (NaN) is no reason."""
        if not (
            np.isfinite(hand.wrist.position).all()
            and np.isfinite(hand.joints).all()
            and np.isfinite(hand.wrist.rotation.as_quat()).all()
        ):
            return "the hand holds NaN or infinity"
        if hand.score < self.min_score:
            return f"the hand's score is {hand.score:.2f}, below {self.min_score:.2f}"
        if hand.side_score < self.min_side_score:
            return f"the hand's side is uncertain ({hand.side_score:.2f}, below {self.min_side_score:.2f})"
        if hand.reprojection_error > self.max_reprojection_error:
            return f"the hand does not fit its keypoints ({hand.reprojection_error:.2f}, above {self.max_reprojection_error:.2f})"
        return ""


def curl(joints: np.ndarray, fingers: tuple[str, ...]) -> float:
    """How far fingers are closed: about 0 stretched out, 1 where the tips are no farther from the wrist than the knuckles.

    Args:
        joints: (21, 3) in any frame, MediaPipe order.
        fingers: of ``FINGERS``; the least closed one counts.
    """
    bases = [FINGERS[finger] for finger in fingers]
    base = np.linalg.norm(joints[bases] - joints[0], axis=1)
    tip = np.linalg.norm(joints[[joint + 3 for joint in bases]] - joints[0], axis=1)
    # A stretched finger's tip is nearly twice as far from the wrist as its knuckle.
    return float(np.min(2 - tip / np.maximum(base, 1e-6)))
