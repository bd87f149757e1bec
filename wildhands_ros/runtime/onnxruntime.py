"""Runs networks on ONNX Runtime."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from ..network.network_file import NetworkFile, detector_digest
from ..network.onnx_file import cut_graph, unusable
from ..network.preprocessing import NetworkInput
from .signature import detector_input, encoder_output_sizes, outputs
from .threads import inference_threads


class OnnxRuntimeNetwork:
    """A ``network.RunningNetwork`` on ONNX Runtime, in float32.

    The encoder runs on several hands side by side, each on a core of its own as far as there are cores: threads that
    share one layer wait for one another at each of a hundred layers. The decoder, whose time goes into reading its
    weights, runs on all hands at once.

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
        encoder, decoder = cut_graph(file.path.read_bytes(), encoder_output_sizes(file.config))
        self._encoder, self._decoder = _session(file.path, encoder), _session(file.path, decoder)
        self._outputs = outputs(file.config)
        self._pool = ThreadPoolExecutor(threads) if (threads := inference_threads()) > 1 else None

    def __call__(self, inputs: NetworkInput, side: np.ndarray) -> dict[str, np.ndarray]:
        values = {**inputs.arrays(), "side": side, "image_index": np.zeros(len(side), np.int64)}
        feed = {node.name: values[node.name] for node in self._encoder.get_inputs()}
        if self._pool is None or len(side) == 1:
            encoded = self._encode(feed)
        else:
            # The whole image, which is not one row for each hand, belongs to every hand.
            rows = [
                {name: value if name == "images" else value[i : i + 1] for name, value in feed.items()}
                for i in range(len(side))
            ]
            encoded = [np.concatenate(parts) for parts in zip(*self._pool.map(self._encode, rows), strict=True)]
        values |= dict(zip((node.name for node in self._encoder.get_outputs()), encoded, strict=True))
        feed = {node.name: values[node.name] for node in self._decoder.get_inputs()}
        return dict(zip(self._outputs, self._decoder.run(list(self._outputs), feed), strict=True))

    def _encode(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._encoder.run(None, feed)


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


def _session(path: Path, part: bytes | None = None) -> onnxruntime.InferenceSession:
    """Loads a network, or a part that was cut from it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = inference_threads()
    # Threads that spin while they wait would take the cores from one another.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # the training's counters in the file are no reason for warnings
    try:
        return onnxruntime.InferenceSession(
            str(path) if part is None else part, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ValueError(unusable(path, "ONNX Runtime", error)) from error
