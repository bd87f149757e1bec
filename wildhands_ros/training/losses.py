"""The training losses of WildHands (Prakash et al., ECCV 2024), as its reference implementation has them or
corrected."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..network.config import IMAGE_SIZE, CameraDecoding
from ..network.model import MIN_SCALE, WildHandsOutput, turn_matrix
from .targets import Targets

MIN_DEPTH = 0.01
"""Metres; predicted joints nearer to the camera plane, or behind it, are projected as if at this depth."""

_NO_CLASS = -100


class LossStyle(enum.Enum):
    """How the terms are averaged. Apart from a factor of 2, both agree on batches in which every image has two hands
    with all labels."""

    CORRECTED = "corrected"
    """Each term is the mean over the hands that have its label, and a hand's own flag decides whether its mask
    counts."""
    RELEASED = "released"
    """As in the authors' code: each term is the mean over all images, in which those without the label count as zero,
    so that the term's weight falls with the share of other data in the batch; a hand's mask counts if the other hand of
    its image has one; and the total is summed twice."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss terms; the defaults are those of the reference implementation. A term with weight 0 is not
    computed.

    All terms are mean squares except grasp (cross-entropy) and mask (mean absolute difference). ``pose`` compares
    rotation matrices, ``j2d`` joints in [-1, 1] across the 224-pixel image and ``j3d`` metres relative to the wrist.
    ``cam`` and ``cam_init`` are the ``camera_error`` of the decoder's last and first camera outputs, and ``cam_pair``
    is the difference between the position errors of two hands in one image.
    """

    pose: float = 10.0
    beta: float = 0.001
    j2d: float = 5.0
    j3d: float = 5.0
    cam: float = 1.0
    cam_init: float = 1.0
    cam_pair: float = 1.0
    grasp: float = 0.1
    mask: float = 10.0


@dataclass(frozen=True)
class Losses:
    """The losses of one batch, as scalars."""

    total: Tensor
    """The quantity to minimise."""
    terms: dict[str, Tensor]
    """Weighted terms without gradients, by their names in ``LossWeights``; only for the kinds of labels that the batch
    has."""


def compute_losses(
    output: WildHandsOutput,
    targets: Targets,
    camera: CameraDecoding,
    *,
    joints: Tensor | None = None,
    silhouettes: Tensor | None = None,
    weights: LossWeights | None = None,
    style: LossStyle = LossStyle.CORRECTED,
) -> Losses:
    """Compute the losses of a batch of B hands.

    Hands without a label get a gradient of exactly zero from its term.

    Args:
        output: The network's output.
        targets: The labels.
        camera: The network's ``config.camera``; see ``camera_error``.
        joints: (B, 21, 3) metres, camera optical frame, MANO order: the hand layer's joints for ``output``. Needed for
            2D and 3D joints.
        silhouettes: (B, H, W), one per hand, as ``soft_silhouettes`` draws them with ``targets.k``. Needed for masks.
            Silhouettes of hands outside ``masked_hands(targets, style)`` have no effect and need not be drawn.
        weights: Weights of the terms.
        style: How the terms are averaged.

    Raises:
        ValueError: A label that is flagged as valid is not finite or not possible (the message names the sample), or
            there is nothing to compare a label with.
    """
    weights = weights or LossWeights()
    targets.check_values()
    batch = len(targets.is_right)
    given: dict[str, Tensor | None] = {
        "joints": joints,
        "silhouettes": silhouettes,
        "grasp_logits": output.grasp_logits,
    }
    for name, value in {**given, "output": output.betas}.items():
        if value is not None and len(value) != batch:
            raise ValueError(f"{name} has {len(value)} hands, but the targets have {batch}")

    def need(name: str, label: str) -> Tensor:
        value = given[name]
        if value is None:
            raise ValueError(
                f"there are labels for {label}, but no {name} to compare them with: pass them or set the weight to 0"
            )
        return value.float()

    def average(values: Tensor, valid: Tensor) -> Tensor:
        return _average(values, valid, targets.num_images if style is LossStyle.RELEASED else None)

    terms: dict[str, Tensor] = {}
    if weights.pose and (pair := targets.pair("rotations")):
        rotations, valid = pair
        terms["pose"] = average(_squares(output.rotations, rotations, valid), valid)
    if weights.beta and (pair := targets.pair("betas")):
        betas, valid = pair
        terms["beta"] = average(_squares(output.betas, betas, valid), valid)
    if weights.j2d and (pair := targets.pair("joints_2d")):
        joints_2d, valid = pair
        pixels = _project(need("joints", "j2d"), targets.k)
        # From [0, 224] pixels to [-1, 1].
        terms["j2d"] = average(_squares(pixels, joints_2d, valid) * (2 / IMAGE_SIZE) ** 2, valid)
    if weights.j3d and (pair := targets.pair("joints_3d")):
        joints_3d, valid = pair
        valid = valid if valid.ndim == 1 else valid & valid[:, :1]
        predicted = need("joints", "j3d")
        terms["j3d"] = average(_squares(predicted - predicted[:, :1], joints_3d - joints_3d[:, :1], valid), valid)
    if pair := targets.pair("translation"):
        terms |= _camera_terms(output, *pair, targets, camera, weights, style)
    if weights.grasp and (pair := targets.pair("grasp")):
        grasp, valid = pair
        classes = torch.where(valid, grasp.long(), _NO_CLASS)
        each = cross_entropy(need("grasp_logits", "grasp"), classes, ignore_index=_NO_CLASS, reduction="none")
        terms["grasp"] = average(each, valid)
    if weights.mask and (pair := targets.pair("mask")):
        drawn, valid = need("silhouettes", "mask"), masked_hands(targets, style)
        mask, has_mask = pair
        if drawn.shape != mask.shape:
            raise ValueError(f"silhouettes are {tuple(drawn.shape)}, masks {tuple(mask.shape)}")
        mask = _keep(mask.float(), has_mask)
        terms["mask"] = average((_keep(drawn, valid) - _keep(mask, valid)).abs(), valid)

    terms = {name: getattr(weights, name) * value for name, value in terms.items()}
    total = sum(terms.values(), output.betas.new_zeros((), dtype=torch.float32))
    if style is LossStyle.RELEASED:
        total = 2 * total
    return Losses(total, {name: value.detach() for name, value in terms.items()})


def _camera_terms(
    output: WildHandsOutput,
    translation: Tensor,
    valid: Tensor,
    targets: Targets,
    camera: CameraDecoding,
    weights: LossWeights,
    style: LossStyle,
) -> dict[str, Tensor]:
    """The terms of the hand's position: ``cam``, ``cam_init`` and ``cam_pair``, not yet weighted."""
    terms: dict[str, Tensor] = {}
    translation = _keep(translation.float(), valid, 1.0)
    label = camera_label(translation, targets.focal, targets.anchor, targets.turn)
    num_images = targets.num_images if style is LossStyle.RELEASED else None
    for name, prediction in (("cam", output.camera), ("cam_init", output.initial_camera)):
        if getattr(weights, name):
            error = camera_error(prediction.float(), label, camera)
            terms[name] = _average(_squares(error, torch.zeros_like(error), valid), valid, num_images)
    if weights.cam_pair:
        # The camera outputs of two crops cannot be compared; positions can.
        if camera is CameraDecoding.FRAME:
            error, unit = output.camera.float() - label, torch.ones_like(translation[:, 2])
        else:
            error, unit = output.translation.float() - translation, translation[:, 2]
        terms["cam_pair"] = _pair_term(_keep(error, valid), unit, valid, targets, style)
    return terms


def camera_label(translation: Tensor, focal: Tensor, anchor: Tensor, turn: Tensor | None = None) -> Tensor:
    """Return the (B, 3) camera output s, tx, ty that ``network.model.decode_translation`` decodes to ``translation``
    (B, 3), z > 0."""
    z, offset = translation[:, 2:], translation[:, :2] - translation[:, 2:] * anchor
    if turn is not None:
        rotation = turn_matrix(turn)
        offset = offset[:, :1] * rotation[:, 0, :2] + offset[:, 1:] * rotation[:, 1, :2]
    return torch.cat([2 * focal[:, None] / (IMAGE_SIZE * z), offset], dim=1)


def camera_error(prediction: Tensor, label: Tensor, camera: CameraDecoding) -> Tensor:
    """Return the (B, 3) error of a camera output (B, 3) s, tx, ty relative to a label of the same form.

    With ``CameraDecoding.FRAME`` it is the difference, as in the reference: s is near 1 and varies as the depths do.
    Otherwise it is the log of the depth ratio and the offsets in half sides of the crop, all relative to the hand's
    apparent size: there, s is about 6 for any hand, and tx and ty are a few hundredths, so that a plain difference
    would all but ignore them.
    """
    if camera is CameraDecoding.FRAME:
        return prediction - label
    scale = label[:, :1]
    return torch.cat([_log(prediction[:, :1]) - scale.log(), scale * (prediction[:, 1:] - label[:, 1:])], dim=1)


def masked_hands(targets: Targets, style: LossStyle) -> Tensor:
    """(B,) bool: the hands whose silhouette is needed."""
    if targets.has_mask is None:
        return torch.zeros_like(targets.is_right)
    if style is LossStyle.RELEASED:
        return (_are_partners(targets) & targets.has_mask).any(1)
    return targets.has_mask


def _log(scale: Tensor) -> Tensor:
    """The logarithm, continued by its tangent below the smallest scale that is decoded, so that such predictions get a
    gradient."""
    safe = scale.clamp(min=MIN_SCALE)
    return safe.log() + (scale - safe) / MIN_SCALE


def _pair_term(error: Tensor, unit: Tensor, valid: Tensor, targets: Targets, style: LossStyle) -> Tensor:
    """Error of left hands relative to right ones: from the hands' own errors (B, 3), in the mean of both hands' units
    (B,)."""
    pairs = _are_partners(targets) & valid[:, None] & valid & ~targets.is_right[:, None]
    difference = (error[:, None] - error) / ((unit[:, None] + unit) / 2).unsqueeze(-1)
    total = (difference.square().mean(-1) * pairs).sum()
    return total / (max(targets.num_images, 1) if style is LossStyle.RELEASED else pairs.sum().clamp(min=1))


def _are_partners(targets: Targets) -> Tensor:
    """(B, B) bool: which hands are the right and the left hand of one image."""
    same_image = targets.image_index[:, None] == targets.image_index
    return same_image & (targets.is_right[:, None] != targets.is_right)


def _average(values: Tensor, valid: Tensor, num_images: int | None) -> Tensor:
    """Mean of the losses ``values`` (B, ...) over the ``valid`` hands (B,) or joints (B, 21), or with ``num_images``
    over all images.

    The factor of 2 is there because the reference adds a term of the right hands and one of the left hands.
    """
    total = torch.where(valid, values.unsqueeze(-1).flatten(valid.ndim).mean(-1), 0).sum()
    if num_images is None:
        return 2 * total / valid.sum().clamp(min=1)
    return total / max(num_images * valid.shape[1:].numel(), 1)


def _keep(values: Tensor, valid: Tensor, other: float = 0.0) -> Tensor:
    """``values`` where ``valid``, a constant elsewhere. Apply it before any arithmetic: zero times NaN is NaN, also in
    gradients."""
    return torch.where(valid.view(*valid.shape, *[1] * (values.ndim - valid.ndim)), values, other)


def _squares(prediction: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    # Under mixed precision the network's outputs have half precision, which is too coarse for squares of metres.
    return (_keep(prediction.float(), valid) - _keep(label.float(), valid)).square()


def _project(points: Tensor, k: Tensor) -> Tensor:
    """(B, J, 3) metres to (B, J, 2) pixels."""
    rays = points[..., :2] / points[..., 2:].clamp(min=MIN_DEPTH)
    # Written out because autocast runs matrix products in half precision, but not sums.
    return rays[..., :1] * k[:, None, :2, 0] + rays[..., 1:] * k[:, None, :2, 1] + k[:, None, :2, 2]
