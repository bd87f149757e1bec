"""The hand detector's network on OpenVINO, and its first stages for training."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from .. import versions
from ..network.weights_digest import weights_digest
from .openvino import Compiled, Compiler, convert, has_bfloat16

_SIZES_KEPT = 4


class OpenVinoDetector:
    """The hand detector's network on one picture at a time: (h, w, 3) uint8 to its outputs without the batch's axis.

    It is compiled for each size of picture, of which a stream has two; the last few are kept, and all of them on the disk. Runs in bfloat16
    where the CPU has it.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._compiler = Compiler(openvino.Core(), f"{weights_digest(net)[:16]}-{versions.GRAPH}")
        self._precision = "bf16" if has_bfloat16() else "f32"
        self._compiled: OrderedDict[tuple[int, int], Compiled] = OrderedDict()

    def __call__(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        size = picture.shape[:2]
        if size not in self._compiled:
            name = f"detector-{size[0]}x{size[1]}"
            self._compiled[size] = self._compiler.compiled(name, lambda: self._of_size(*size), self._precision)
            if len(self._compiled) > _SIZES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(size)
        image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        return tuple(output[0] for output in self._compiled[size](image))

    @cached_property
    def _model(self) -> openvino.Model:
        return convert(self._net, [torch.zeros(1, 3, 64, 64)], [[1, 3, -1, -1]])

    def _of_size(self, height: int, width: int) -> openvino.Model:
        self._model.reshape([1, 3, height, width])
        return self._model


class OpenVinoStages:
    """The first stages of a trunk that never change, for training: inputs of one shape. In bfloat16 where the CPU has it."""

    def __init__(self, stages: nn.Module, shape: tuple[int, ...]) -> None:
        self._compiled = openvino.Core().compile_model(convert(stages, [torch.zeros(shape)], [list(shape)]), "CPU")

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())
