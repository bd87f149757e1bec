"""Distils the landmark network into the landmark head during training (Li and Hoiem, "Learning without Forgetting",
ECCV 2016).

The trunk is trained on renders; its landmarks, presence and handedness should stay as good on photographs as they were
before.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ..network.config import IMAGE_SIZE
from ..network.landmark_net import NUM_LANDMARKS, LandmarkOutput
from .config import DistillationConfig


def distillation_losses(
    student: LandmarkOutput, teacher: LandmarkOutput, trust: Tensor, is_real: Tensor, weights: DistillationConfig
) -> dict[str, Tensor]:
    """Compute the distillation terms.

    Args:
        student: The landmark head's output.
        teacher: The landmark network's output for the same crops.
        trust: (B,) weights of the teacher's landmarks and side, which mean nothing where there is no hand.
        is_real: (B,) bool, which crops come from photographs; the others count ``weights.others`` times as much.
        weights: Weights of the terms.

    Returns:
        Weighted scalars, by names that begin with ``distill_``; 0 where student and teacher agree.
    """
    share = torch.where(is_real, 1.0, weights.others)

    def average(values: Tensor, trust: Tensor) -> Tensor:
        return (trust * values).sum() / trust.sum().clamp(min=1e-3)

    def trusted(values: Tensor) -> Tensor:
        return average(values, share * trust)

    terms = {}
    if weights.landmarks:
        apart = _landmarks(student) - _landmarks(teacher)
        terms["distill_landmarks"] = weights.landmarks * trusted(_distance(apart).mean(1)) / (IMAGE_SIZE / 2)
    if weights.world:
        terms["distill_world"] = weights.world * trusted(_distance(student.world - teacher.world).mean(1))
    if weights.presence:
        terms["distill_presence"] = weights.presence * average(
            _divergence(student.presence_logit, teacher.presence_logit), share
        )
    if weights.side:
        terms["distill_side"] = weights.side * trusted(_divergence(student.is_right_logit, teacher.is_right_logit))
    return terms


def packed(output: LandmarkOutput) -> Tensor:
    """Pack what ``distillation_losses`` needs of a teacher's output into a (B, 128) tensor."""
    logits = torch.stack([output.presence_logit, output.is_right_logit], dim=1)
    return torch.cat([_landmarks(output).flatten(1), output.world.flatten(1), logits], dim=1)


def unpacked(values: Tensor) -> LandmarkOutput:
    """Return the teacher's output, without features, from the (B, 128) tensor of ``packed``."""
    landmarks, world = (
        part.unflatten(1, (NUM_LANDMARKS, 3)) for part in values[:, : 6 * NUM_LANDMARKS].split(3 * NUM_LANDMARKS, dim=1)
    )
    presence, is_right = values[:, -2:].unbind(1)
    return LandmarkOutput(values.new_empty(0), landmarks[..., :2], landmarks[..., 2], presence, is_right, world)


def _landmarks(output: LandmarkOutput) -> Tensor:
    """(B, 21, 3) landmarks in pixels of the crop, with their depths."""
    return torch.cat([output.landmarks, output.landmark_z[..., None]], dim=-1)


def _distance(difference: Tensor) -> Tensor:
    """(B, 21) lengths, with a finite gradient at zero."""
    return (difference.square().sum(-1) + 1e-12).sqrt()


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """(B,) Kullback-Leibler divergence between two probabilities, from their logits."""
    label = teacher.sigmoid()
    entropy = binary_cross_entropy_with_logits(teacher, label, reduction="none")
    return binary_cross_entropy_with_logits(student, label, reduction="none") - entropy
