"""Joint orders of the datasets: ``ours = theirs[..., ORDER, :]`` brings 21 joints into MediaPipe order.

FreiHAND and H2O already use that order: wrist, then thumb to pinky, each from its base.
"""

from __future__ import annotations

from ..hand_model.joints import FINGERS, MANO_TO_MEDIAPIPE

MANO = list(MANO_TO_MEDIAPIPE)
"""ARCTIC: MANO's joints, then the fingertips."""

TIPS_FIRST = [20, *(4 * finger + 3 - joint for finger in range(5) for joint in range(4))]
"""AssemblyHands, InterHand2.6M and EPIC-HandKps: thumb to pinky, each from its tip, then the wrist."""

NAMES = ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in range(1, 5)))
"""EgoExo4D: its joints' names in MediaPipe order, without the prefix of the side."""
