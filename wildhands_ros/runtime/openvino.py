"""Parts of the network on OpenVINO, which on a CPU is several times as fast as PyTorch."""

from __future__ import annotations

import hashlib
import warnings

import openvino
import torch
from torch import Tensor, nn

from ..network.config import IMAGE_SIZE

_converted: tuple[str, openvino.Model] = "", None
"""The last trunk that was converted. torch.jit.trace (2.14) loses 15 MB for good each time, and a robot loads the same one often."""


class OpenVinoTrunk(nn.Module):
    """Does in float32 on the CPU what ``trunk`` does: (B, 3, 224, 224) to its features. Takes seconds to make the first time."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self._compiled = openvino.Core().compile_model(_convert(trunk), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def forward(self, x: Tensor) -> Tensor:
        # A copy, for the next call writes its result to the same place.
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())


def _convert(trunk: nn.Module) -> openvino.Model:
    global _converted
    digest = _digest(trunk)
    if _converted[0] != digest:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's, about shapes that are always the same here
            size = [-1, 3, IMAGE_SIZE, IMAGE_SIZE]
            model = openvino.convert_model(trunk, example_input=torch.zeros(2, *size[1:]), input=size)
        _converted = digest, model
    return _converted[1]


def _digest(trunk: nn.Module) -> str:
    """Of structure and weights."""
    state = hashlib.sha256(repr(trunk).encode())
    for name, tensor in trunk.state_dict().items():
        state.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return state.hexdigest()
