"""Parts of the network on OpenVINO, which on a CPU is several times as fast as PyTorch."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from ..network.config import IMAGE_SIZE
from ..network.weights_digest import weights_digest

_SIZES_KEPT = 4
_last: tuple[str, openvino.Model] = "", None
"""The last trunk that was converted. torch.jit.trace (2.14) loses 15 MB for good each time, and a robot loads the same one often."""


def _converted(net: nn.Module, example: Tensor, shape: list[int]) -> openvino.Model:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are always the same here
        return openvino.convert_model(net, example_input=example, input=shape)


class OpenVinoTrunk(nn.Module):
    """Does in float32 on the CPU what ``trunk`` does: (B, 3, 224, 224) to its features. Takes seconds to make the first time."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self._compiled = openvino.Core().compile_model(_convert(trunk), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def forward(self, x: Tensor) -> Tensor:
        # A copy, for the next call writes its result to the same place.
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())


def _convert(trunk: nn.Module) -> openvino.Model:
    global _last
    digest = weights_digest(trunk)
    if _last[0] != digest:
        size = [-1, 3, IMAGE_SIZE, IMAGE_SIZE]
        _last = digest, _converted(trunk, torch.zeros(2, *size[1:]), size)
    return _last[1]


class OpenVinoDetector:
    """The hand detector's network on one picture at a time: (h, w, 3) uint8 to its outputs without the batch's axis.

    It is compiled for each size of picture, of which a stream has two; the last few are kept. Runs in bfloat16 where the CPU has it.
    """

    def __init__(self, net: nn.Module) -> None:
        self._model = _converted(net, torch.zeros(1, 3, 64, 64), [1, 3, -1, -1])
        self._core = openvino.Core()
        self._compiled: OrderedDict[tuple[int, int], openvino.CompiledModel] = OrderedDict()

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        size = picture.shape[:2]
        if size not in self._compiled:
            self._model.reshape([1, 3, *size])
            self._compiled[size] = self._core.compile_model(self._model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
            if len(self._compiled) > _SIZES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(size)
        image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        return tuple(output[0].copy() for output in self._compiled[size](image).to_tuple())


class OpenVinoStages:
    """The first stages of a trunk that never change, for training: inputs of one shape. In bfloat16 where the CPU has it."""

    def __init__(self, stages: nn.Module, shape: tuple[int, ...]) -> None:
        self._compiled = openvino.Core().compile_model(_converted(stages, torch.zeros(shape), list(shape)), "CPU")

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())
