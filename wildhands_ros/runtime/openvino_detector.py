"""The hand detector's network on OpenVINO, and its first stages for training."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from .openvino import convert
from .threads import openvino_threads

_SIZES_KEPT = 4


class OpenVinoDetector:
    """The hand detector's network on one picture at a time: (h, w, 3) uint8 to its outputs without the batch's axis.

    It is compiled for each size of picture, of which a stream has two; the last few are kept. Runs in bfloat16 where the CPU has it.
    """

    def __init__(self, net: nn.Module) -> None:
        self._model = convert(net, [torch.zeros(1, 3, 64, 64)], [[1, 3, -1, -1]])
        self._core = openvino.Core()
        self._compiled: OrderedDict[tuple[int, int], openvino.CompiledModel] = OrderedDict()

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        size = picture.shape[:2]
        if size not in self._compiled:
            self._model.reshape([1, 3, *size])
            options = {"PERFORMANCE_HINT": "LATENCY", **openvino_threads()}
            self._compiled[size] = self._core.compile_model(self._model, "CPU", options)
            if len(self._compiled) > _SIZES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(size)
        image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        return tuple(output[0].copy() for output in self._compiled[size](image).to_tuple())


class OpenVinoStages:
    """The first stages of a trunk that never change, for training: inputs of one shape. In bfloat16 where the CPU has it."""

    def __init__(self, stages: nn.Module, shape: tuple[int, ...]) -> None:
        self._compiled = openvino.Core().compile_model(convert(stages, [torch.zeros(shape)], [list(shape)]), "CPU")

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())
