"""The weights of MediaPipe's hand landmark network, read from the file in mediapipe's wheel (Apache-2.0)."""

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


def landmark_model_path() -> Path:
    """``hand_landmark_full.tflite``. Raises ImportError where mediapipe is not installed, or comes without it."""
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or spec.origin is None:
        raise ImportError("the weights of the landmark network are in mediapipe's wheel: pip install mediapipe==0.10.21")
    path = Path(spec.origin).parent / "modules/hand_landmark/hand_landmark_full.tflite"
    if not path.is_file():
        raise ImportError(f"{path} is missing: pip install mediapipe==0.10.21 (later wheels come without it)")
    return path


def read_landmark_weights() -> LandmarkWeights:
    """Raises ImportError where mediapipe (see ``landmark_model_path``) or openvino, which reads the file, is missing."""
    path = landmark_model_path()
    try:
        import openvino
    except ImportError as error:
        raise ImportError("reading the weights of the landmark network needs openvino: pip install openvino") from error
    network = openvino.Core().read_model(path)
    layers = [op for op in network.get_ordered_ops() if op.get_type_name() in ("Convolution", "GroupConvolution")]
    layers += [_linear_layer(network.output(name).get_node()) for name in OUTPUTS.values()]
    # The file stores halves in another order of axes, and the reader adds operations that undo this: let OpenVINO run them.
    constants = openvino.Model([source for layer in layers for source in (layer.input_value(1), _bias(layer))], [])
    values = iter(openvino.compile_model(constants, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({}).to_tuple())
    read = []
    for _ in layers:
        weight, bias = next(values), next(values).ravel()
        read.append(Layer(weight.reshape(len(bias), -1, *weight.shape[-2:]) if weight.ndim > 2 else weight, bias))
    return LandmarkWeights(read[: -len(OUTPUTS)], dict(zip(OUTPUTS, read[-len(OUTPUTS) :], strict=True)))


def _linear_layer(node):
    """The matrix product that leads to an output of the network."""
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    return node


def _bias(layer):
    """What is added to the result of a layer."""
    (target,) = layer.output(0).get_target_inputs()
    return target.get_node().input_value(1)
