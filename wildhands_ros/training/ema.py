"""Moving average of a network's weights (Polyak and Juditsky 1992), which generalises better than the last weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average, kept on the weights' device.

    The decay is at most (1 + t) / (10 + t) in step t, so that the average soon forgets the initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after ``step`` (from 1 on) to the average; tensors of other types than floating point are
        copied."""
        share = 1 - min(self.decay, (1 + step) / (10 + step)) if self.decay else 1.0
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.weights[name].lerp_(tensor.detach(), share)
            else:
                self.weights[name].copy_(tensor)

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Restore a saved average."""
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])
