"""A hand of the operator in one image, and whether it is reliable enough to move a robot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..geometry.pose import Pose
from ..types import HandEstimate, Side

THUMB_TIP, INDEX_TIP = 4, 8
FINGERS = {"index": 5, "middle": 9, "ring": 13, "pinky": 17}
"""Index of each finger's base joint (MCP) in MediaPipe order; the fingertip is three further."""


@dataclass(frozen=True)
class HandObservation:
    """A hand in one image of the stream."""

    side: Side
    track: str
    """Track id; empty without tracking."""
    wrist: Pose
    """Pose of the hand model's root joint."""
    joints: np.ndarray
    """(21, 3) metres in MediaPipe order, in the same TF frame as the pose of the wrist."""
    score: float = float("nan")
    """Confidence in [0, 1] that this is a hand; NaN if unknown."""
    side_score: float = float("nan")
    """Confidence in [0, 1] that ``side`` is correct; NaN if unknown."""
    reprojection_error: float = float("nan")
    """As in ``HandEstimate``; NaN if unknown."""
    stamp: int = 0
    """When the image was taken, in nanoseconds of its clock; 0 if unknown."""

    @property
    def pinch(self) -> float:
        """Metres between the tips of the thumb and the index finger."""
        return float(np.linalg.norm(self.joints[THUMB_TIP] - self.joints[INDEX_TIP]))

    @property
    def local_joints(self) -> np.ndarray:
        """(21, 3) joints in the hand model's rest frame, with the wrist at the origin."""
        return self.wrist.inverse().apply(self.joints)

    def transformed(self, camera: Pose) -> HandObservation:
        """Returns the observation in another TF frame.

        Args:
            camera: pose of the camera, in whose frame the observation is, in the other frame.
        """
        return replace(self, wrist=camera @ self.wrist, joints=camera.apply(self.joints))


def observed(hand: HandEstimate, stamp: int) -> HandObservation:
    """Returns an estimate as an observation in the camera frame.

    Args:
        hand: the estimate.
        stamp: when the image was taken, in nanoseconds.
    """
    return HandObservation(
        side=hand.side,
        track=hand.track_id,
        wrist=Pose(hand.wrist_rotation, hand.wrist_position),
        joints=hand.joints,
        score=hand.score,
        side_score=hand.side_score,
        reprojection_error=hand.reprojection_error,
        stamp=stamp,
    )


@dataclass(frozen=True)
class TrustLimits:
    """Limits outside of which a hand must not move a robot."""

    min_score: float = 0.5
    min_side_score: float = 0.6
    max_reprojection_error: float = 0.15
    """Fraction of the longer side of the hand's box."""

    def violation(self, hand: HandObservation) -> str:
        """Returns why the hand is not trusted; empty if it is. Unknown scores (NaN) are not checked."""
        if not (is_finite(hand.wrist) and np.isfinite(hand.joints).all()):
            return "the hand contains NaN or infinity"
        if hand.score < self.min_score:
            return f"the hand's score is {hand.score:.2f}, below {self.min_score:.2f}"
        if hand.side_score < self.min_side_score:
            return f"the hand's side is uncertain ({hand.side_score:.2f}, below {self.min_side_score:.2f})"
        if hand.reprojection_error > self.max_reprojection_error:
            error, limit = hand.reprojection_error, self.max_reprojection_error
            return f"the hand does not fit its keypoints ({error:.2f}, above {limit:.2f})"
        return ""


def is_finite(pose: Pose) -> bool:
    """Returns whether a pose contains neither NaN nor infinity."""
    return bool(np.isfinite(pose.position).all() and np.isfinite(pose.rotation).all())


def curl(joints: np.ndarray, fingers: tuple[str, ...]) -> float:
    """Returns how far fingers are closed: about 0 if stretched, 1 if the tips are as near to the wrist as the knuckles.

    Args:
        joints: (21, 3) in any frame, MediaPipe order.
        fingers: keys of ``FINGERS``; the least closed one determines the result.
    """
    bases = [FINGERS[finger] for finger in fingers]
    base = np.linalg.norm(joints[bases] - joints[0], axis=1)
    tip = np.linalg.norm(joints[[joint + 3 for joint in bases]] - joints[0], axis=1)
    # The tip of a stretched finger is nearly twice as far from the wrist as its knuckle.
    return float(np.min(2 - tip / np.maximum(base, 1e-6)))
