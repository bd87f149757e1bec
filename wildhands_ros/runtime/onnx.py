"""Exports the network to ONNX: from crops to MANO parameters, for any number of hands."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from ..network.model import WildHands
from .graph import Decoder, Encoder, WholeNetwork, example_inputs, outputs

_OPSET = 17


def export_onnx(model: WildHands, mean_pose: Tensor, path: Path) -> None:
    """Writes the whole network in float32. Inputs and outputs have the names in ``graph``; their first axis is dynamic.

    Args:
        model: the network.
        mean_pose: (2, 45) radians, mean poses of the left and the right hand model.
        path: the file to write.

    Raises:
        ImportError: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401 - PyTorch's exporter needs it, but its own error is less clear
    except ImportError as error:
        raise ImportError("the export needs onnx: pip install 'wildhands_ros[onnx]' (or: pip install onnx)") from error
    examples = example_inputs(model.config)
    names = outputs(model)
    rows = {name: {0: "image" if name == "images" else "hand"} for name in (*examples, *names)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns about shapes, which are constant here
        torch.onnx.export(
            WholeNetwork(Encoder(model), Decoder(model, mean_pose)).eval(),
            tuple(examples.values()),
            str(path),
            input_names=list(examples),
            output_names=list(names),
            dynamic_axes=rows,
            opset_version=_OPSET,
            dynamo=False,
        )
