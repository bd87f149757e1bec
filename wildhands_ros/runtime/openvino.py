"""Parts of the network on OpenVINO, which on a CPU is several times as fast as PyTorch."""

from __future__ import annotations

import warnings

import openvino
import torch
from torch import Tensor, nn

from ..network.config import IMAGE_SIZE


class OpenVinoTrunk(nn.Module):
    """Does in float32 on the CPU what ``trunk`` does: (B, 3, 224, 224) to its features. Takes seconds to make."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's, about shapes that are always the same here
            model = openvino.convert_model(
                trunk, example_input=torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE), input=[-1, 3, IMAGE_SIZE, IMAGE_SIZE]
            )
        self._compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def forward(self, x: Tensor) -> Tensor:
        # A copy, for the next call writes its result to the same place.
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())
