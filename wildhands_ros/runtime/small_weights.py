"""8-bit weights for large linear layers, in which reading the weights takes longer than the arithmetic."""

from __future__ import annotations

import numpy as np
import openvino
from openvino import opset13 as opset

_LARGE = 200_000
"""Smallest number of weights of a layer that is quantized: this includes nearly all of the decoder's weights, but not
the output layers, which determine the last digits."""


def with_small_weights(model: openvino.Model) -> openvino.Model:
    """Converts the weights of large linear layers to int8 with one scale per output; changes and returns the graph."""
    made: dict[str, openvino.Output] = {}  # a layer that is used several times is converted once
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weights = node.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or weights.data.size < _LARGE:
            continue
        name = weights.get_friendly_name()
        if name not in made:
            made[name] = _small(weights.data, inputs=1 if node.get_attributes()["transpose_b"] else 0)
        node.input(1).replace_source_output(made[name])
    return model


def _small(weights: np.ndarray, inputs: int) -> openvino.Output:
    """Returns the quantized weights; ``inputs`` is the axis that the layer sums over."""
    scale = np.abs(weights).max(inputs, keepdims=True) / 127
    integers = np.round(weights / np.maximum(scale, np.finfo(np.float32).tiny)).astype(np.int8)
    return opset.multiply(opset.convert(opset.constant(integers), "f32"), opset.constant(scale)).output(0)
