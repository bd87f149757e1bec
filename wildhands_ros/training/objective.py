"""The computation of one training step, from a batch to its losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..hand_model.asset import HandAsset
from ..hand_model.layer import HandLayer, HandOutput
from ..network.config import IMAGE_SIZE
from ..network.landmark_net import LandmarkNet, LandmarkTrunk
from ..network.model import WildHands, WildHandsOutput
from ..network.trunk_kinds import TRUNKS
from ..types import Side
from .batches import Batch, normalized
from .config import Precision, TrainingConfig
from .distillation import distillation_losses, unpacked
from .landmark_labels import correct_teacher, move_towards_labels
from .losses import compute_losses, masked_hands
from .pool import frozen_stages
from .soft_silhouette import soft_silhouettes
from .targets import Targets

FUSION_UNITS = "fusion_units"
"""Name of the logged share of the fusion's units that tell hands apart."""


class Objective(nn.Module):
    """The network with its losses, as one module, so that DistributedDataParallel sees the whole step."""

    faces: Tensor

    def __init__(self, model: WildHands, assets: dict[Side, HandAsset], config: TrainingConfig) -> None:
        """
        Args:
            model: The network; it is modified in place.
            assets: Its hand model.
            config: The training run.

        Raises:
            ValueError: The network cannot be trained with this configuration.
            ImportError: Distillation needs weights that are not installed.
        """
        super().__init__()
        # Crops arrive in this memory layout; keeping it is more than twice as fast on a CPU.
        self.model = model.to(memory_format=torch.channels_last)
        self.layer = HandLayer(assets[Side.RIGHT], assets[Side.LEFT], flat_hand_mean=False)
        faces = torch.stack([torch.from_numpy(assets[side].faces).long() for side in (Side.LEFT, Side.RIGHT)])
        self.register_buffer("faces", faces, persistent=False)
        self._config = config
        self._teacher: tuple[LandmarkNet, ...] = ()
        if config.distillation.is_used:
            if model.landmark_head is None:
                raise ValueError(
                    "distillation needs a landmark head, which this network does not have: set network.trunk: "
                    "mediapipe_hand"
                )
            # In a tuple, so that it is not a submodule: this module's weights are trained and synchronised.
            self._teacher = (LandmarkNet.from_mediapipe().requires_grad_(False),)
        if config.augmentation.true_landmarks and not model.config.landmark_input:
            raise ValueError(
                "augmentation.true_landmarks changes the decoders' landmark input: set network.landmark_input: true"
            )
        self._fusion_units: dict[str, Tensor] = {}
        model.fusion.register_forward_hook(self._record_fusion)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = config.dropout
        if config.pool:
            model.hand_trunk.forward = partial(model.hand_trunk.forward, first=frozen_stages(config))
        if config.precision is Precision.BFLOAT16:
            for part in (model.hand_trunk, model.image_trunk, model.fusion):
                if part is not None:
                    _run_in_bfloat16(part)
        if config.precision is Precision.FROZEN_BFLOAT16:
            if not isinstance(model.hand_trunk, LandmarkTrunk):
                raise ValueError(
                    "precision: frozen_bfloat16 needs a trunk with stages: set network.trunk: mediapipe_hand"
                )
            for trunk in (model.hand_trunk, model.image_trunk):
                if isinstance(trunk, LandmarkTrunk):
                    for stage in trunk.stages:
                        _run_in_bfloat16_while_frozen(stage)
            for teacher in self._teacher:
                _run_in_bfloat16(teacher.trunk)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Objective:
        for teacher in self._teacher:
            teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Returns:
            Scalars by name: ``loss``, the quantity to minimise, its weighted terms, and, for two or more hands,
            ``FUSION_UNITS``: the share of the fusion's units that are active for some of them but not for others.
            Distillation terms are left out while everything that produces landmarks is frozen.
        """
        output, crops = self.predict(batch)
        hand = self.hands(output, batch.targets)
        losses = compute_losses(
            output,
            batch.targets,
            self.model.config.camera,
            joints=hand.joints,
            silhouettes=self._silhouettes(hand.vertices, batch.targets),
            weights=self._config.losses,
            style=self._config.loss_style,
        )
        terms, total = dict(losses.terms), losses.total
        student = output.landmarks
        if self._teacher and student is not None and student.landmarks.requires_grad:
            if batch.taught is not None:
                taught = unpacked(batch.taught)
            else:
                with torch.no_grad():
                    taught = self._teacher[0](crops)
            trust, options = taught.presence, self._config.distillation
            if options.tolerance:
                taught, trust = correct_teacher(taught, batch.targets, options.tolerance)
            held = distillation_losses(student, taught, trust, batch.is_real, options)
            terms |= held
            total = total + sum(held.values())
        return {"loss": total, **terms, **self._fusion_units}

    def _record_fusion(self, _fusion: nn.Module, _inputs: tuple, vector: Tensor) -> None:
        active = vector.detach() > 0
        telling = (active.any(0) & ~active.all(0)).float().mean()
        self._fusion_units = {FUSION_UNITS: telling} if len(active) > 1 else {}

    def predict(self, batch: Batch) -> tuple[WildHandsOutput, Tensor]:
        """Run the network; returns its output and its input, normalised crops or features of them."""
        kind, targets = TRUNKS[self.model.config.trunk], batch.targets
        if batch.features is not None:
            crops = batch.features.float().contiguous(memory_format=torch.channels_last)
        elif batch.crops is not None:
            crops = normalized(batch.crops, kind)
        else:
            raise ValueError("the batch has neither crops nor features")
        images = None if batch.images is None else normalized(batch.images, kind)
        index = None if images is None else targets.image_index
        model = self.model
        if self.training and self._config.augmentation.true_landmarks and model.landmark_head is not None:
            encoded = model.encode(crops, batch.kpe, images, index)
            predicted = model.landmark_head(encoded.features)
            shown = move_towards_labels(predicted, targets, self._config.augmentation.true_landmarks)
            output = model.decode(encoded, shown, targets.is_right, targets.focal, targets.anchor, targets.turn)
            return dataclasses.replace(output, landmarks=predicted), crops
        output = model(
            crops, batch.kpe, targets.is_right, targets.focal, targets.anchor, images, index, turn=targets.turn
        )
        return output, crops

    def hands(self, output: WildHandsOutput, targets: Targets) -> HandOutput:
        """Pose the hand model: vertices and joints in the camera's frame."""
        rotations = output.rotations
        return self.layer(
            rotations[:, 0], rotations[:, 1:], output.betas, output.translation, is_right=targets.is_right
        )

    def _silhouettes(self, vertices: Tensor, targets: Targets) -> Tensor | None:
        """(B, 224, 224), zero for hands that need none; None if no hand needs one."""
        if targets.mask is None or not self._config.losses.mask:
            return None
        chosen = masked_hands(targets, self._config.loss_style).nonzero().squeeze(1)
        silhouettes = vertices.new_zeros(len(vertices), IMAGE_SIZE, IMAGE_SIZE)
        if not len(chosen):
            return silhouettes
        faces = self.faces[targets.is_right[chosen].long()]
        drawn = soft_silhouettes(vertices[chosen], faces, targets.k[chosen], IMAGE_SIZE, IMAGE_SIZE)
        return silhouettes.index_copy(0, chosen, drawn)


def _run_in_bfloat16(part: nn.Module) -> None:
    """Autocast this part only: rotations, cameras and losses need more than eight bits of precision."""
    forward = part.forward

    def in_bfloat16(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return forward(x).float()

    part.forward = in_bfloat16


def _run_in_bfloat16_while_frozen(stage: nn.Module) -> None:
    """Autocast only while there is no backward pass, in which depthwise convolutions are slow in bfloat16."""
    forward = stage.forward

    def in_bfloat16(x: Tensor) -> Tensor:
        if any(parameter.requires_grad for parameter in stage.parameters()):
            return forward(x.float())
        with torch.autocast(x.device.type, torch.bfloat16):
            return forward(x)

    stage.forward = in_bfloat16
