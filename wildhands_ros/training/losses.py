"""What training minimises (spec 3.1)."""

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
"""Metres; predicted joints that are nearer to the camera's plane, or behind it, are projected as if they were there."""

_NO_CLASS = -100


class LossStyle(enum.Enum):
    """How the terms are averaged. Both agree, but for a factor 2, on batches in which every image has two hands with all labels."""

    CORRECTED = "corrected"
    """Each term is a mean over the hands that have its label, and a hand's own flag says whether its mask counts."""
    RELEASED = "released"
    """As the authors' code does it (spec 3.1, 3.2): each term is a mean over all images, those without the label counting as zero, so that
    its weight falls with the share of other data in the batch; a hand's mask counts if the other hand of its image has one; and the total
    is summed twice."""


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; the defaults are the reference's. A term with weight 0 is not computed.

    Mean squares, but for grasp (cross-entropy) and mask (mean absolute difference). pose is of rotation matrices, j2d of joints in [-1, 1]
    over the 224-pixel image, j3d of metres from the wrist, cam and cam_init of the decoder's last and first ``camera_error``, cam_pair of
    one hand's error against the other's in the same image.
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
    """Scalars."""

    total: Tensor
    """To be minimised."""
    terms: dict[str, Tensor]
    """By names as in ``LossWeights``, weighted, without gradients; only of kinds of labels that the batch has."""


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
    """Losses of a batch of B hands.

    joints: (B, 21, 3) metres, camera optical frame, MANO order: the hand layer's for ``output``; needed for 2D and 3D joints.
    silhouettes: (B, H, W), one per hand, as ``soft_silhouettes`` draws them with ``targets.k``; needed for masks. Those of hands
        outside of ``masked_hands(targets, style)`` have no effect and need not be drawn.
    camera: the network's ``config.camera``; see ``camera_error``.

    Hands without a label get a gradient of exactly zero from its term. Raises ValueError for labels that are not finite or not
    possible though said to be there, naming the sample, and for labels that something is missing to compare with.
    """
    weights = weights or LossWeights()
    targets.check_values()
    batch = len(targets.is_right)
    given = {"joints": joints, "silhouettes": silhouettes, "grasp_logits": output.grasp_logits}
    for name, value in {"output": output.betas, **given}.items():
        if value is not None and len(value) != batch:
            raise ValueError(f"{name} is of {len(value)} hands, the targets of {batch}")

    def need(name: str, label: str) -> Tensor:
        if given[name] is None:
            raise ValueError(
                f"there are labels for {label}, but no {name} to compare them with: supply them or set the weight to 0"
            )
        return given[name].float()

    def average(values: Tensor, valid: Tensor) -> Tensor:
        return _average(values, valid, targets.num_images if style is LossStyle.RELEASED else None)

    terms: dict[str, Tensor] = {}
    if targets.rotations is not None and weights.pose:
        terms["pose"] = average(_squares(output.rotations, targets.rotations, targets.has_pose), targets.has_pose)
    if targets.betas is not None and weights.beta:
        terms["beta"] = average(_squares(output.betas, targets.betas, targets.has_beta), targets.has_beta)
    if targets.joints_2d is not None and weights.j2d:
        pixels = _project(need("joints", "j2d"), targets.k)
        # From [0, 224] pixels to [-1, 1].
        terms["j2d"] = average(
            _squares(pixels, targets.joints_2d, targets.has_j2d) * (2 / IMAGE_SIZE) ** 2, targets.has_j2d
        )
    if targets.joints_3d is not None and weights.j3d:
        valid = targets.has_j3d if targets.has_j3d.ndim == 1 else targets.has_j3d & targets.has_j3d[:, :1]
        prediction, label = need("joints", "j3d"), targets.joints_3d
        terms["j3d"] = average(_squares(prediction - prediction[:, :1], label - label[:, :1], valid), valid)
    if targets.translation is not None:
        valid, translation = targets.has_cam, _keep(targets.translation.float(), targets.has_cam, 1.0)
        label = camera_label(translation, targets.focal, targets.anchor, targets.turn)
        for name, prediction in (("cam", output.camera), ("cam_init", output.initial_camera)):
            if getattr(weights, name):
                error = camera_error(prediction.float(), label, camera)
                terms[name] = average(_squares(error, torch.zeros_like(error), valid), valid)
        if weights.cam_pair:
            # The outputs for two crops cannot be compared, the positions can.
            if camera is CameraDecoding.FRAME:
                error, unit = output.camera.float() - label, torch.ones_like(translation[:, 2])
            else:
                error, unit = output.translation.float() - translation, translation[:, 2]
            terms["cam_pair"] = _pair_term(_keep(error, valid), unit, targets, style)
    if targets.grasp is not None and weights.grasp:
        classes = torch.where(targets.has_grasp, targets.grasp.long(), _NO_CLASS)
        each = cross_entropy(need("grasp_logits", "grasp"), classes, ignore_index=_NO_CLASS, reduction="none")
        terms["grasp"] = average(each, targets.has_grasp)
    if targets.mask is not None and weights.mask:
        drawn, valid = need("silhouettes", "mask"), masked_hands(targets, style)
        if drawn.shape != targets.mask.shape:
            raise ValueError(f"silhouettes are {tuple(drawn.shape)}, masks {tuple(targets.mask.shape)}")
        label = _keep(targets.mask.float(), targets.has_mask)
        terms["mask"] = average((_keep(drawn, valid) - _keep(label, valid)).abs(), valid)

    terms = {name: getattr(weights, name) * value for name, value in terms.items()}
    total = sum(terms.values(), output.betas.new_zeros((), dtype=torch.float32))
    if style is LossStyle.RELEASED:
        total = 2 * total
    return Losses(total, {name: value.detach() for name, value in terms.items()})


def camera_label(translation: Tensor, focal: Tensor, anchor: Tensor, turn: Tensor | None = None) -> Tensor:
    """(B, 3) s, tx, ty that ``network.model.decode_translation`` decodes to ``translation`` (B, 3); the depths must be positive."""
    z, offset = translation[:, 2:], translation[:, :2] - translation[:, 2:] * anchor
    if turn is not None:
        rotation = turn_matrix(turn)
        offset = offset[:, :1] * rotation[:, 0, :2] + offset[:, 1:] * rotation[:, 1, :2]
    return torch.cat([2 * focal[:, None] / (IMAGE_SIZE * z), offset], dim=1)


def camera_error(prediction: Tensor, label: Tensor, camera: CameraDecoding) -> Tensor:
    """What a camera output (B, 3) s, tx, ty is off by, (B, 3), from a label of the same form.

    FRAME: the difference, as in the reference. There s is near 1 and its range is that of the depths.
    CROP: (log of the depth ratio, offsets in half sides of the crop), all relative to the hand's apparent size: there s is about 6
        for any hand, tx and ty are centimetres, and the plain difference would all but ignore them.
    """
    if camera is CameraDecoding.FRAME:
        return prediction - label
    scale = label[:, :1]
    return torch.cat([_log(prediction[:, :1]) - scale.log(), scale * (prediction[:, 1:] - label[:, 1:])], dim=1)


def masked_hands(targets: Targets, style: LossStyle) -> Tensor:
    """(B,) bool: the hands of which a silhouette is needed."""
    if targets.has_mask is None:
        return torch.zeros_like(targets.is_right)
    if style is LossStyle.RELEASED:
        return (_are_partners(targets) & targets.has_mask).any(1)
    return targets.has_mask


def _log(scale: Tensor) -> Tensor:
    """The logarithm, continued by its tangent below the least scale that is decoded, so that a prediction there finds its way back."""
    safe = scale.clamp(min=MIN_SCALE)
    return safe.log() + (scale - safe) / MIN_SCALE


def _pair_term(error: Tensor, unit: Tensor, targets: Targets, style: LossStyle) -> Tensor:
    """How far off left hands are from right ones: from the hands' own errors (B, 3), in the mean of both hands' units (B,)."""
    valid = targets.has_cam
    pairs = _are_partners(targets) & valid[:, None] & valid & ~targets.is_right[:, None]
    difference = (error[:, None] - error) / ((unit[:, None] + unit) / 2).unsqueeze(-1)
    total = (difference.square().mean(-1) * pairs).sum()
    return total / (max(targets.num_images, 1) if style is LossStyle.RELEASED else pairs.sum().clamp(min=1))


def _are_partners(targets: Targets) -> Tensor:
    """(B, B) bool: which hands are a right and a left one of the same image."""
    same_image = targets.image_index[:, None] == targets.image_index
    return same_image & (targets.is_right[:, None] != targets.is_right)


def _average(values: Tensor, valid: Tensor, num_images: int | None) -> Tensor:
    """Mean of the losses ``values`` (B, ...) over the hands (B,) or joints (B, 21) that are ``valid``, or their sum over all images.

    The reference adds a term of the right hands and one of the left hands, hence the factor 2.
    """
    total = torch.where(valid, values.unsqueeze(-1).flatten(valid.ndim).mean(-1), 0).sum()
    if num_images is None:
        return 2 * total / valid.sum().clamp(min=1)
    return total / max(num_images * valid.shape[1:].numel(), 1)


def _keep(values: Tensor, valid: Tensor, other: float = 0.0) -> Tensor:
    """``values`` where ``valid``, a constant elsewhere: before any arithmetic, for zero times NaN is NaN, in gradients too."""
    return torch.where(valid.view(*valid.shape, *[1] * (values.ndim - valid.ndim)), values, other)


def _squares(prediction: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    # Under mixed precision the network's outputs are of half precision, too coarse for squares of metres.
    return (_keep(prediction.float(), valid) - _keep(label.float(), valid)).square()


def _project(points: Tensor, k: Tensor) -> Tensor:
    """(B, J, 3) metres to (B, J, 2) pixels."""
    rays = points[..., :2] / points[..., 2:].clamp(min=MIN_DEPTH)
    # Spelt out, because autocast makes matrix products, but not sums, of half precision.
    return rays[..., :1] * k[:, None, :2, 0] + rays[..., 1:] * k[:, None, :2, 1] + k[:, None, :2, 2]
