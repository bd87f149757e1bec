"""Reads the weights of MediaPipe's palm detector and landmark network from mediapipe's wheel (Apache-2.0)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

OUTPUTS = {"landmarks": "Identity", "presence": "Identity_1", "is_right": "Identity_2", "world": "Identity_3"}
"""Names of the file's outputs."""


class Layer(NamedTuple):
    """Float32 weights of a layer, in PyTorch's order of axes."""

    weight: np.ndarray
    """(out, in / groups, height, width) for a convolution, (out, in) for a linear layer."""
    bias: np.ndarray
    """(out,)"""


class LandmarkWeights(NamedTuple):
    convolutions: list[Layer]
    """In order, from the image to the last feature map. Batch normalisation is folded in."""
    heads: dict[str, Layer]
    """Linear layers by output, keys as in ``OUTPUTS``."""


class PalmWeights(NamedTuple):
    convolutions: list[Layer]
    """In the order of ``palm_net.PalmNet``: trunk, scores and boxes of the fine cells, then of the coarse cells."""
    slopes: list[np.ndarray]
    """(channels,) for each of the trunk's PReLUs."""


def landmark_model_path() -> Path:
    """Returns the path of ``hand_landmark_full.tflite``.

    Raises:
        ImportError: mediapipe is not installed, or its wheel does not include the file.
    """
    return _model_path("hand_landmark/hand_landmark_full.tflite")


def palm_model_path() -> Path:
    """Returns the path of ``palm_detection_full.tflite``; raises as ``landmark_model_path``."""
    return _model_path("palm_detection/palm_detection_full.tflite")


def _model_path(name: str) -> Path:
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ImportError("MediaPipe's networks are in its wheel: pip install mediapipe==0.10.21")
    path = Path(spec.origin).parent / "modules" / name
    if not path.is_file():
        raise ImportError(f"{path} is missing: pip install mediapipe==0.10.21 (later wheels do not include it)")
    return path


def read_landmark_weights() -> LandmarkWeights:
    """Reads the landmark network's weights.

    Raises:
        ImportError: mediapipe (see ``landmark_model_path``) or openvino, which reads the file, is not installed.
    """
    network = _read(landmark_model_path())
    layers = _convolutions(network) + [_linear_layer(network.output(name).get_node()) for name in OUTPUTS.values()]
    read = _layers(layers)
    return LandmarkWeights(read[: -len(OUTPUTS)], dict(zip(OUTPUTS, read[-len(OUTPUTS) :], strict=True)))


def read_palm_weights() -> PalmWeights:
    """Reads the palm detector's weights; raises as ``read_landmark_weights``."""
    network = _read(palm_model_path())
    slopes = [op.input_value(1) for op in network.get_ordered_ops() if op.get_type_name() == "PRelu"]
    *trunk, fine_scores, coarse_scores, fine_boxes, coarse_boxes = _layers(_convolutions(network))
    return PalmWeights(
        [*trunk, fine_scores, fine_boxes, coarse_scores, coarse_boxes],
        [values.ravel() for values in _constants(slopes)],
    )


def _read(path: Path):
    try:
        from .openvino_core import openvino_core
    except ImportError as error:
        raise ImportError("reading the weights of MediaPipe's networks needs openvino: pip install openvino") from error
    return openvino_core().read_model(path)


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
    """Evaluates constants: the file stores half precision in another order of axes, which added operations convert."""
    import openvino

    from .openvino_core import openvino_core

    model = openvino.Model(sources, [])
    return list(openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({}).to_tuple())


def _linear_layer(node):
    """Returns the matrix product before an output of the network."""
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    return node


def _bias(layer):
    """Returns the constant that is added to a layer's result."""
    (target,) = layer.output(0).get_target_inputs()
    return target.get_node().input_value(1)
