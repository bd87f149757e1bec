"""A pinching motion of the open hand, for the tests of teleoperation."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.types import Side

THUMB_TIP, INDEX_TIP = 4, 8


@cache
def pinching_hand(side: Side = Side.RIGHT, frames: int = 40, touch: float = 0.006) -> np.ndarray:
    """Returns (frames, 21, 3) joints in the rest frame with the wrist at the origin.

    The hand goes from open to thumb and index fingertips ``touch`` metres apart, and back.
    """
    layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT), flat_hand_mean=True)
    is_right = torch.tensor([side is Side.RIGHT])
    pose = torch.zeros(1, 45, requires_grad=True)
    optimizer = torch.optim.Adam([pose], lr=0.05)

    def joints(hand_pose: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros(1, 3)
        found = layer(zeros, hand_pose, torch.zeros(1, 10), zeros, is_right=is_right).joints[0, list(MANO_TO_MEDIAPIPE)]
        return found - found[0]

    for _ in range(150):
        found = joints(pose)
        gap = (found[THUMB_TIP] - found[INDEX_TIP]).norm()
        loss = (gap - touch).abs() * 100 + 0.2 * pose.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    closing = np.sin(np.linspace(0, np.pi, frames)) ** 2
    with torch.no_grad():
        return np.stack([joints(float(part / closing.max()) * pose).numpy() for part in closing])
