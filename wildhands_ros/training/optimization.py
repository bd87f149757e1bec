"""The optimiser: which weights change in which step, and at which learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..network.model import WildHands
from .config import Decay, GroupConfig, OptimizerConfig


class Optimization:
    """Adam over the groups of a configuration, with learning rates and freezing as functions of the step (from 1
    on)."""

    def __init__(self, model: WildHands, config: OptimizerConfig, steps: int) -> None:
        """
        Args:
            model: The network.
            config: The optimiser's configuration.
            steps: Length of the run.

        Raises:
            ValueError: A group names a part that this network does not have.
        """
        self._config, self._steps = config, steps
        self._groups = [*config.groups, GroupConfig(())]
        self._parts = [[_part(model, name) for name in group.modules] for group in config.groups]
        named = {name: i for i, group in enumerate(config.groups) for name in group.modules}
        self._parameters: list[list[nn.Parameter]] = [[] for _ in self._groups]
        for name, parameter in model.named_parameters():
            owner = max((part for part in named if f"{name}.".startswith(f"{part}.")), key=len, default=None)
            self._parameters[-1 if owner is None else named[owner]].append(parameter)
        self.adam = torch.optim.AdamW(
            [{"params": parameters} for parameters in self._parameters],
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )

    def prepare(self, step: int) -> bool:
        """Set the learning rates and freeze parts for ``step``; returns whether the set of frozen weights has
        changed."""
        changed = False
        # Longer names last, since a nested part may differ from its parent. Frozen batch normalisations keep their
        # statistics.
        parts = [
            (name, part, group)
            for group, parts in zip(self._groups, self._parts, strict=False)
            for name, part in zip(group.modules, parts, strict=True)
        ]
        for _, part, group in sorted(parts, key=lambda entry: len(entry[0])):
            part.train(_is_trained(group, step))
        for group, parameters, options in zip(self._groups, self._parameters, self.adam.param_groups, strict=True):
            is_trained = _is_trained(group, step)
            options["lr"] = self.learning_rate(step, group) if is_trained else 0.0
            for parameter in parameters:
                changed |= parameter.requires_grad is not is_trained
                parameter.requires_grad_(is_trained)
                if not is_trained:
                    parameter.grad = None
        return changed

    def learning_rate(self, step: int, group: GroupConfig | None = None) -> float:
        """Return the learning rate of a group; by default of one with factor 1 that is never frozen."""
        group, config = group or GroupConfig(()), self._config
        warmup = min(1.0, (step - group.frozen_until) / config.warmup_steps) if config.warmup_steps else 1.0
        decay = 1.0
        if config.decay is Decay.COSINE:
            decay = (
                config.final_share
                + (1 - config.final_share) * (1 + math.cos(math.pi * min(step / self._steps, 1.0))) / 2
            )
        return config.lr * group.lr_factor * warmup * decay

    def update(self) -> Tensor:
        """Apply the clipped gradients, unless they are not finite, and clear them.

        Returns:
            The gradients' norm before clipping.
        """
        norm = nn.utils.clip_grad_norm_(self._trained(), self._config.clip_norm)
        if norm.isfinite():
            self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return norm

    def _trained(self) -> Iterator[Tensor]:
        return (p for parameters in self._parameters for p in parameters if p.grad is not None)


def _is_trained(group: GroupConfig, step: int) -> bool:
    return step > group.frozen_until and group.lr_factor > 0


def _part(model: WildHands, name: str) -> nn.Module:
    try:
        part = model.get_submodule(name)
    except AttributeError:
        part = None
    if part is None:
        raise ValueError(f"optimizer.groups names {name}, which this network does not have")
    return part
