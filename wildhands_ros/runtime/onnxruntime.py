"""Runs networks on ONNX Runtime, where OpenVINO is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from ..network.network_file import NetworkFile, detector_digest
from ..network.preprocessing import NetworkInput
from .signature import detector_input, outputs
from .threads import inference_threads


class OnnxRuntimeNetwork:
    """A ``network.RunningNetwork`` on ONNX Runtime, in float32.

    Args:
        file: an ONNX file.
        precision: float32; others are not available.

    Raises:
        ValueError: the precision is not available here.
    """

    name = "cpu (ONNX Runtime, float32)"

    def __init__(self, file: NetworkFile, precision: str) -> None:
        if precision != "float32":
            raise ValueError("ONNX Runtime runs the network in float32: set runtime to openvino for other precisions")
        self._session = _session(file.path)
        self._inputs, self._outputs = [node.name for node in self._session.get_inputs()], outputs(file.config)

    def __call__(self, inputs: NetworkInput, side: np.ndarray) -> dict[str, np.ndarray]:
        values = {**inputs.arrays(), "side": side, "image_index": np.zeros(len(side), np.int64)}
        results = self._session.run(list(self._outputs), {name: values[name] for name in self._inputs})
        return dict(zip(self._outputs, results, strict=True))


class OnnxRuntimeDetector:
    """Runs the hand detector's network on one image at a time.

    Args:
        path: the detector's ONNX file.

    Raises:
        ValueError: the file does not hold a hand detector.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        detector_digest(path)
        self._session = _session(path)

    def __call__(self, image_rgb: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the outputs of ``HandDetectorNet`` for an (h, w, 3) uint8 image, without their batch axis."""
        results = self._session.run(None, {"images": detector_input(image_rgb)})
        return tuple(output[0] for output in results)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = inference_threads()
    options.log_severity_level = 3  # the training's counters in the file are no reason for warnings
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
