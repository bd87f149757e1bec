"""Joint orders of the data sets: ``ours = theirs[..., ORDER, :]`` brings 21 joints into MediaPipe order.

FreiHAND's and H2O's joints are in that order: wrist, then thumb to pinky, each from its base.
"""

from __future__ import annotations

from ..hand_model.joints import FINGERS, MANO_TO_MEDIAPIPE

MANO = list(MANO_TO_MEDIAPIPE)
"""ARCTIC: MANO's joints, then the fingertips."""

TIPS_FIRST = [20, *(4 * finger + 3 - joint for finger in range(5) for joint in range(4))]
"""AssemblyHands, InterHand2.6M and EPIC-HandKps: thumb to pinky, each from its tip, then the wrist."""

NAMES = ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in range(1, 5)))
"""EgoExo4D names its joints; these are the names in MediaPipe order, without the side's prefix."""
