"""Training targets of a batch of hands, each of which may have any of the labels or none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..network.heads import NUM_BETAS, NUM_GRASPS, NUM_ROTATIONS

NUM_KEYPOINTS = 21


@dataclass(frozen=True)
class Targets:
    """Targets of B hands in N images, in metres and pixels, in the camera's optical frame; joints in MANO order.

    Every kind of label comes with a bool tensor that says which hands have it; values of other hands (NaN, say) have no
    effect. A kind that no hand has may be left out, both tensors None.

    Raises:
        ValueError: The shapes do not match.
    """

    is_right: Tensor
    """(B,) bool."""
    image_index: Tensor
    """(B,) int64 the image that a hand belongs to; two hands of one image with different sides are a pair."""
    num_images: int
    """N, including images without hands."""
    focal: Tensor
    """(B,) see ``WildHands.forward``, as are the next two."""
    anchor: Tensor
    """(B, 2)"""
    turn: Tensor | None
    """(B,) or None if crops are not turned."""
    k: Tensor
    """(B, 3, 3) pinhole matrix of the 224-pixel image that ``joints_2d`` and ``mask`` refer to."""

    joints_2d: Tensor | None = None
    """(B, 21, 2) pixels."""
    has_j2d: Tensor | None = None
    """(B,) or, if single joints may be unknown, (B, 21)."""
    joints_3d: Tensor | None = None
    """(B, 21, 3)"""
    has_j3d: Tensor | None = None
    """(B,) or (B, 21). A hand whose wrist (joint 0) is unknown counts as having no joints."""
    rotations: Tensor | None = None
    """(B, 16, 3, 3) like ``WildHandsOutput.rotations``, so relative to the hand model's mean pose."""
    has_pose: Tensor | None = None
    betas: Tensor | None = None
    """(B, 10)"""
    has_beta: Tensor | None = None
    translation: Tensor | None = None
    """(B, 3) of the hand model's origin."""
    has_cam: Tensor | None = None
    grasp: Tensor | None = None
    """(B,) int64, values of ``types.Grasp`` from 0 to 8."""
    has_grasp: Tensor | None = None
    mask: Tensor | None = None
    """(B, H, W) in [0, 1], this hand alone."""
    has_mask: Tensor | None = None

    names: tuple[str, ...] | None = None
    """Names of the hands in messages; by default their index in the batch."""

    def __post_init__(self) -> None:
        batch = len(self.is_right)
        self._check_shape("is_right", (batch,))
        self._check_shape("image_index", (batch,))
        self._check_shape("focal", (batch,))
        self._check_shape("anchor", (batch, 2))
        if self.turn is not None:
            self._check_shape("turn", (batch,))
        self._check_shape("k", (batch, 3, 3))
        if self.names is not None and len(self.names) != batch:
            raise ValueError(f"{len(self.names)} names for {batch} hands")
        for flag, (label, shape) in LABELS.items():
            valid = getattr(self, flag)
            if (valid is None) is not (getattr(self, label) is None):
                raise ValueError(f"{label} and {flag} belong together")
            if valid is None:
                continue
            self._check_shape(label, (batch, *shape))
            if flag in _PER_JOINT and valid.ndim == 2:
                self._check_shape(flag, (batch, NUM_KEYPOINTS))
            else:
                self._check_shape(flag, (batch,))
            if valid.dtype != torch.bool:
                raise ValueError(f"{flag} must be bool, got {valid.dtype}")

    def _check_shape(self, name: str, expected: tuple[int | None, ...]) -> None:
        shape = tuple(getattr(self, name).shape)
        if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected, strict=True)):
            raise ValueError(
                f"{name} must be ({', '.join('*' if e is None else str(e) for e in expected)}), got {shape}"
            )

    def pair(self, label: str) -> tuple[Tensor, Tensor] | None:
        """Return a label and its validity flags, or None if no hand has it."""
        value, valid = getattr(self, label), getattr(self, _FLAGS[label])
        return None if value is None or valid is None else (value, valid)

    def to(self, device: torch.device | str) -> Targets:
        """Copy all tensors to a device."""
        tensors = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        moved: dict[str, Any] = {
            n: v.to(device, non_blocking=True) for n, v in tensors.items() if isinstance(v, Tensor)
        }
        return dataclasses.replace(self, **moved)

    def check_values(self) -> None:
        """Check that labels flagged as valid are finite and possible.

        Raises:
            ValueError: One is not; the message names the samples.
        """
        problems = {}
        for label, _ in LABELS.values():
            if (pair := self.pair(label)) is None:
                continue
            value, valid = pair
            bad = valid & ~_is_good(label, value).unsqueeze(-1).flatten(valid.ndim).all(-1)
            problems[f"{label} {_EXPECTED.get(label, 'that is not finite')}"] = bad.any(1) if bad.ndim == 2 else bad
        if not problems or not torch.stack(list(problems.values())).any():
            return
        found = []
        for problem, bad in problems.items():
            found += [
                f"sample {self.names[i] if self.names else i} has {problem}" for i in bad.nonzero().flatten().tolist()
            ]
        raise ValueError("; ".join(found))


LABELS: dict[str, tuple[str, tuple[int | None, ...]]] = {
    "has_j2d": ("joints_2d", (NUM_KEYPOINTS, 2)),
    "has_j3d": ("joints_3d", (NUM_KEYPOINTS, 3)),
    "has_pose": ("rotations", (NUM_ROTATIONS, 3, 3)),
    "has_beta": ("betas", (NUM_BETAS,)),
    "has_cam": ("translation", (3,)),
    "has_grasp": ("grasp", ()),
    "has_mask": ("mask", (None, None)),
}
"""By validity flag: the label and its shape per hand."""
_FLAGS = {label: flag for flag, (label, _) in LABELS.items()}
_PER_JOINT = ("has_j2d", "has_j3d")
_EXPECTED = {
    "translation": "that is not finite or not in front of the camera",
    "grasp": f"that is not one of 0 to {NUM_GRASPS - 1}",
    "mask": "with values outside of [0, 1]",
}


def _is_good(label: str, value: Tensor) -> Tensor:
    """Elementwise."""
    if label == "grasp":
        return (value >= 0) & (value < NUM_GRASPS)
    if label == "mask":
        return (value >= 0) & (value <= 1)
    good = value.isfinite()
    if label == "translation":
        good = good & (value[:, 2:] > 0)
    return good
