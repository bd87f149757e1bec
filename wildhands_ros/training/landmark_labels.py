"""Landmarks and labels mixed.

What the landmark head is to say of labelled crops is what the landmark network said, but for what it clearly got wrong.

On renders the landmark network often follows a glove, a tool or the other hand. Where it is about right, its own habits are kept, so that
they stay on photographs, too.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..hand_model.joints import MANO_TO_MEDIAPIPE
from ..network.landmark_net import LANDMARK_CROP_SIZE, LandmarkOutput
from ..network.model import ray_rotation, turn_matrix
from .targets import Targets

_SURE = 4.0
"""Logit of a side that is known."""
_LEAST_INSIDE = 0.5
"""Share of the joints that must lie in the crop: of a hand that the crop does not show, there is nothing to say."""


def corrected(teacher: LandmarkOutput, targets: Targets, tolerance: float) -> tuple[LandmarkOutput, Tensor]:
    """The teacher's output with labels in its place where it misses them.

    teacher: of the crops of ``targets``, whose ``joints_2d`` are in the crops' pixels.
    tolerance: share of the hand's extent from which on labels take over, wholly at twice as much.

    Also returns (B,) how far to trust the landmarks, world landmarks and side: 1 where they are labelled, else the teacher's presence.
    """
    if targets.joints_2d is None or targets.joints_3d is None:
        return teacher, teacher.presence
    landmarks, world, known = _labels(teacher, targets)
    output = dataclasses.replace(
        teacher,
        landmarks=_mixed(teacher.landmarks, landmarks, known, tolerance),
        world=_mixed(teacher.world, world, known, tolerance),
        is_right_logit=torch.where(known, torch.where(targets.is_right, _SURE, -_SURE), teacher.is_right_logit),
    )
    return output, torch.where(known, 1.0, teacher.presence)


def nearer(said: LandmarkOutput, targets: Targets, share: float) -> LandmarkOutput:
    """Image landmarks of about ``share`` of the labelled hands, and of half of these the world landmarks, too, moved towards the labels,
    by any part of the way. ``targets`` as in ``corrected``."""
    if targets.joints_2d is None or targets.joints_3d is None:
        return said
    landmarks, world, known = _labels(said, targets)
    chance = torch.rand(3, len(known), 1, 1, device=known.device)
    way = chance[0] * (chance[1] < share)
    known = known[:, None, None]
    return dataclasses.replace(
        said,
        landmarks=torch.where(known, said.landmarks.lerp(landmarks, way), said.landmarks),
        world=torch.where(known, said.world.lerp(world, way * (chance[2] < 0.5)), said.world),
    )


def _labels(said: LandmarkOutput, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 21, 2) and (B, 21, 3): what would be right in place of ``said.landmarks`` and ``said.world``; (B,) bool where that is known."""
    order = list(MANO_TO_MEDIAPIPE)
    known = targets.has_j2d & targets.has_j3d
    known = (known if known.ndim == 1 else known.all(1)) & _in_sight(targets)
    world = _world(targets)[:, order]
    # The network's origin is about the hand's centre; only shapes can be compared.
    return targets.joints_2d[:, order], world + (said.world - world).mean(1, keepdim=True), known


def _mixed(said: Tensor, label: Tensor, known: Tensor, tolerance: float) -> Tensor:
    """(B, 21, D), of hands that are not ``known`` what was said."""
    extent = (label.amax(1) - label.amin(1)).amax(1)
    apart = (said - label).norm(dim=-1) / (tolerance * extent[:, None])
    share = torch.where(known[:, None], (apart - 1).clamp(0, 1), 0.0)[..., None]
    return torch.where(share > 0, said + share * (label - said), said)


def _in_sight(targets: Targets) -> Tensor:
    """(B,) bool"""
    inside = ((targets.joints_2d > 0) & (targets.joints_2d < LANDMARK_CROP_SIZE)).all(-1)
    return inside.float().mean(1) >= _LEAST_INSIDE


def _world(targets: Targets) -> Tensor:
    """(B, 21, 3) joints along the turned crop's axes, as seen along the ray through its centre."""
    to_camera = ray_rotation(targets.anchor)
    if targets.turn is not None:
        to_camera = to_camera @ turn_matrix(targets.turn)
    return targets.joints_3d @ to_camera
