"""Runs the hand detector's network on OpenVINO."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np
import openvino

from .. import versions
from ..network.network_file import detector_digest
from ..network.openvino_core import openvino_core, read_onnx
from .openvino import Compiled, Compiler, has_bfloat16
from .signature import detector_input

_SIZES_KEPT = 4


class OpenVinoDetector:
    """Runs the hand detector's network on one image at a time.

    The network is compiled for each image size, of which a stream has two. All sizes are cached on disk, and the last
    few in memory. It runs in bfloat16 if the CPU has it.

    Args:
        path: the detector's ONNX file.
        side_by_side: see ``detector.run_detector``.

    Raises:
        ValueError: the file does not hold a hand detector.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, side_by_side: bool = False) -> None:
        self._path, self._side_by_side = path, side_by_side
        self._compiler = Compiler(openvino_core(), f"{detector_digest(path)[:32]}-{versions.GRAPH}")
        self._precision = "bf16" if has_bfloat16() else "f32"
        self._compiled: OrderedDict[tuple[int, int], Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, image_rgb: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the outputs of ``HandDetectorNet`` for an (h, w, 3) uint8 image, without their batch axis."""
        height, width = image_rgb.shape[:2]
        size = height, width
        with self._lock:
            if size not in self._compiled:
                name = f"detector-{height}x{width}{'-streams' if self._side_by_side else ''}"
                self._compiled[size] = self._compiler.compiled(
                    name, lambda: self._of_size(*size), self._precision, self._side_by_side
                )
                if len(self._compiled) > _SIZES_KEPT:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(size)
            compiled = self._compiled[size]
        return tuple(output[0] for output in compiled(detector_input(image_rgb)))

    @cached_property
    def _model(self) -> openvino.Model:
        return read_onnx(self._path)

    def _of_size(self, height: int, width: int) -> openvino.Model:
        self._model.reshape([1, 3, height, width])
        return self._model
