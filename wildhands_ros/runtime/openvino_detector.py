"""Runs the hand detector's network on OpenVINO, and its frozen stages in training."""

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
    """Runs the hand detector's network on one image at a time.

    The network is compiled for each image size, of which a stream has two. All sizes are cached on disk, and the last
    few in memory. It runs in bfloat16 if the CPU has it.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._compiler = Compiler(openvino.Core(), f"{weights_digest(net)[:16]}-{versions.GRAPH}")
        self._precision = "bf16" if has_bfloat16() else "f32"
        self._compiled: OrderedDict[tuple[int, int], Compiled] = OrderedDict()

    def __call__(self, image_rgb: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the outputs of ``HandDetectorNet`` for an (h, w, 3) uint8 image, without their batch axis."""
        height, width = image_rgb.shape[:2]
        size = height, width
        if size not in self._compiled:
            name = f"detector-{height}x{width}"
            self._compiled[size] = self._compiler.compiled(name, lambda: self._of_size(*size), self._precision)
            if len(self._compiled) > _SIZES_KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(size)
        batch = np.ascontiguousarray(image_rgb.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        return tuple(output[0] for output in self._compiled[size](batch))

    @cached_property
    def _model(self) -> openvino.Model:
        return convert(self._net, [torch.zeros(1, 3, 64, 64)], [[1, 3, -1, -1]])

    def _of_size(self, height: int, width: int) -> openvino.Model:
        self._model.reshape([1, 3, height, width])
        return self._model


class OpenVinoStages:
    """Runs the frozen first stages of a trunk in training, on inputs of one shape; in bfloat16 if the CPU has it."""

    def __init__(self, stages: nn.Module, shape: tuple[int, ...]) -> None:
        self._compiled = openvino.Core().compile_model(convert(stages, [torch.zeros(shape)], [list(shape)]), "CPU")

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())
