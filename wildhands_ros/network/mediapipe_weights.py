"""The weights of MediaPipe's palm detector and hand landmark network, read from the files in mediapipe's wheel (Apache-2.0)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

OUTPUTS = {"landmarks": "Identity", "presence": "Identity_1", "is_right": "Identity_2", "world": "Identity_3"}
"""What the file's outputs are called."""


class Layer(NamedTuple):
    """Float32, in PyTorch's order of axes."""

    weight: np.ndarray
    """(out, in / groups, height, width) of a convolution, (out, in) of a linear layer."""
    bias: np.ndarray
    """(out,)"""


class LandmarkWeights(NamedTuple):
    convolutions: list[Layer]
    """From the image to the last feature map. Batch normalisations are folded into them."""
    heads: dict[str, Layer]
    """The linear layers by output, keys as in ``OUTPUTS``."""


class PalmWeights(NamedTuple):
    convolutions: list[Layer]
    """In the order of ``palm_net.PalmNet``: trunk, then scores and boxes of the fine cells and of the coarse ones."""
    slopes: list[np.ndarray]
    """Of the trunk's PReLUs, (channels,) each."""


def landmark_model_path() -> Path:
    """``hand_landmark_full.tflite``. Raises ImportError where mediapipe is not installed, or comes without it."""
    return _model_path("hand_landmark/hand_landmark_full.tflite")


def palm_model_path() -> Path:
    """``palm_detection_full.tflite``; raises as ``landmark_model_path``."""
    return _model_path("palm_detection/palm_detection_full.tflite")


def _model_path(name: str) -> Path:
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ImportError("MediaPipe's networks are in its wheel: pip install mediapipe==0.10.21")
    path = Path(spec.origin).parent / "modules" / name
    if not path.is_file():
        raise ImportError(f"{path} is missing: pip install mediapipe==0.10.21 (later wheels come without it)")
    return path


def read_landmark_weights() -> LandmarkWeights:
    """Raises ImportError where mediapipe (see ``landmark_model_path``) or openvino, which reads the file, is missing."""
    network = _read(landmark_model_path())
    layers = _convolutions(network) + [_linear_layer(network.output(name).get_node()) for name in OUTPUTS.values()]
    read = _layers(layers)
    return LandmarkWeights(read[: -len(OUTPUTS)], dict(zip(OUTPUTS, read[-len(OUTPUTS) :], strict=True)))


def read_palm_weights() -> PalmWeights:
    """Raises as ``read_landmark_weights``."""
    network = _read(palm_model_path())
    slopes = [op.input_value(1) for op in network.get_ordered_ops() if op.get_type_name() == "PRelu"]
    *trunk, fine_scores, coarse_scores, fine_boxes, coarse_boxes = _layers(_convolutions(network))
    return PalmWeights(
        [*trunk, fine_scores, fine_boxes, coarse_scores, coarse_boxes],
        [values.ravel() for values in _constants(slopes)],
    )


def _read(path: Path):
    try:
        import openvino
    except ImportError as error:
        raise ImportError("reading the weights of MediaPipe's networks needs openvino: pip install openvino") from error
    return openvino.Core().read_model(path)


def _convolutions(network) -> list:
    return [op for op in network.get_ordered_ops() if op.get_type_name() in ("Convolution", "GroupConvolution")]


def _layers(layers: list) -> list[Layer]:
    values = iter(_constants([source for layer in layers for source in (layer.input_value(1), _bias(layer))]))
    read = []
    for _ in layers:
        weight, bias = next(values), next(values).ravel()
        read.append(Layer(weight.reshape(len(bias), -1, *weight.shape[-2:]) if weight.ndim > 2 else weight, bias))
    return read


def _constants(sources: list) -> list[np.ndarray]:
    """The file stores halves in another order of axes, and the reader adds operations that undo this: OpenVINO runs them."""
    import openvino

    model = openvino.Model(sources, [])
    return list(openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({}).to_tuple())


def _linear_layer(node):
    """The matrix product that leads to an output of the network."""
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    return node


def _bias(layer):
    """What is added to the result of a layer."""
    (target,) = layer.output(0).get_target_inputs()
    return target.get_node().input_value(1)
