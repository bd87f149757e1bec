"""Combines the landmark network's predictions with labels, for distillation and for the decoders' input.

On labelled crops, the landmark head is trained towards what the landmark network predicted, except where that is
clearly wrong: on renders it often follows a glove, a tool or the other hand. Where it is about right, its own habits
are kept, so that they persist on photographs.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ..hand_model.joints import MANO_TO_MEDIAPIPE
from ..network.landmark_net import LANDMARK_CROP_SIZE, LandmarkOutput
from ..network.model import ray_rotation, turn_matrix
from .targets import Targets

_KNOWN_SIDE_LOGIT = 4.0
"""Logit of a known side."""
_MIN_INSIDE = 0.5
"""Share of the joints that must lie in the crop for the hand's labels to be used."""


def correct_teacher(teacher: LandmarkOutput, targets: Targets, tolerance: float) -> tuple[LandmarkOutput, Tensor]:
    """Replace the teacher's output by labels where it misses them.

    Args:
        teacher: Output for the crops of ``targets``.
        targets: Labels, with ``joints_2d`` in the crops' pixels.
        tolerance: Error, as a fraction of the hand's extent, above which labels gradually take over; fully at twice
            that error.

    Returns:
        The corrected output and its (B,) weights for landmarks, world landmarks and side: 1 if they are labelled, else
        the teacher's presence.
    """
    if (labels := _labels(teacher, targets)) is None:
        return teacher, teacher.presence
    landmarks, world, known = labels
    output = dataclasses.replace(
        teacher,
        landmarks=_blend(teacher.landmarks, landmarks, known, tolerance),
        world=_blend(teacher.world, world, known, tolerance),
        is_right_logit=torch.where(
            known, torch.where(targets.is_right, _KNOWN_SIDE_LOGIT, -_KNOWN_SIDE_LOGIT), teacher.is_right_logit
        ),
    )
    return output, torch.where(known, 1.0, teacher.presence)


def move_towards_labels(predicted: LandmarkOutput, targets: Targets, share: float) -> LandmarkOutput:
    """Move the landmarks of random hands towards their labels, each by a random part of the way.

    Args:
        predicted: The landmark head's output.
        targets: As in ``correct_teacher``.
        share: Probability that a labelled hand is chosen. Half of the chosen hands' world landmarks are moved, too.
    """
    if (labels := _labels(predicted, targets)) is None:
        return predicted
    landmarks, world, known = labels
    chance = torch.rand(3, len(known), 1, 1, device=known.device)
    way = chance[0] * (chance[1] < share)
    known = known[:, None, None]
    return dataclasses.replace(
        predicted,
        landmarks=torch.where(known, predicted.landmarks.lerp(landmarks, way), predicted.landmarks),
        world=torch.where(known, predicted.world.lerp(world, way * (chance[2] < 0.5)), predicted.world),
    )


def _labels(predicted: LandmarkOutput, targets: Targets) -> tuple[Tensor, Tensor, Tensor] | None:
    """Labels in the form of ``landmarks`` (B, 21, 2) and ``world`` (B, 21, 3), and (B,) bool which hands have them;
    None without any."""
    pair_2d, pair_3d = targets.pair("joints_2d"), targets.pair("joints_3d")
    if pair_2d is None or pair_3d is None:
        return None
    order = list(MANO_TO_MEDIAPIPE)
    (joints_2d, has_j2d), (joints_3d, has_j3d) = pair_2d, pair_3d
    has_joints = has_j2d & has_j3d
    known = (has_joints if has_joints.ndim == 1 else has_joints.all(1)) & _in_crop(joints_2d)
    world = _in_crop_axes(joints_3d, targets)[:, order]
    # The network's origin is near the hand's centre; only shapes can be compared.
    return joints_2d[:, order], world + (predicted.world - world).mean(1, keepdim=True), known


def _blend(predicted: Tensor, label: Tensor, known: Tensor, tolerance: float) -> Tensor:
    """(B, 21, D), of hands that are not ``known`` what was predicted."""
    extent = (label.amax(1) - label.amin(1)).amax(1)
    apart = (predicted - label).norm(dim=-1) / (tolerance * extent[:, None])
    share = torch.where(known[:, None], (apart - 1).clamp(0, 1), 0.0)[..., None]
    return torch.where(share > 0, predicted + share * (label - predicted), predicted)


def _in_crop(joints_2d: Tensor) -> Tensor:
    """(B,) bool: whether enough of the (B, 21, 2) joints lie within the crop."""
    inside = ((joints_2d > 0) & (joints_2d < LANDMARK_CROP_SIZE)).all(-1)
    return inside.float().mean(1) >= _MIN_INSIDE


def _in_crop_axes(joints_3d: Tensor, targets: Targets) -> Tensor:
    """Rotate (B, 21, 3) joints to the axes of the turned crop, as seen along the ray through its centre."""
    to_camera = ray_rotation(targets.anchor)
    if targets.turn is not None:
        to_camera = to_camera @ turn_matrix(targets.turn)
    return joints_3d @ to_camera
