"""Chooses the runtime of the hand detector's network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .shared import shared
from .threads import inference_threads

DetectorOutputs = tuple[np.ndarray, ...]
"""Palm logits (N,), palm boxes (N, 18) and hand maps (8, h / 8, w / 8)."""


def run_detector(path: Path, side_by_side: bool = False) -> Callable[[np.ndarray], DetectorOutputs]:
    """Returns a detector as a function of an (h, w, 3) uint8 image, which may be called from several threads at once.

    It runs on OpenVINO if that is installed, otherwise on ONNX Runtime or PyTorch. All who use the same file share it.

    Args:
        path: the detector's ONNX file.
        side_by_side: whether calls run on one thread each, so that several threads should call it at once; otherwise
            each call runs on all threads. On small images this takes a quarter less processor time.

    Raises:
        ValueError: the file does not hold a hand detector.
        OSError: the file cannot be read.
    """
    return shared((path, side_by_side, inference_threads()), lambda: _run_detector(path, side_by_side))


def _run_detector(path: Path, side_by_side: bool) -> Callable[[np.ndarray], DetectorOutputs]:
    try:
        from .openvino_detector import OpenVinoDetector

        return OpenVinoDetector(path, side_by_side)
    except ImportError:
        pass
    try:
        from .onnxruntime import OnnxRuntimeDetector

        return OnnxRuntimeDetector(path, side_by_side)
    except ImportError:
        pass
    try:
        from .pytorch import TorchDetector
    except ImportError as error:
        raise ValueError("no runtime for the hand detector is installed: pip install openvino") from error
    return TorchDetector(path)
