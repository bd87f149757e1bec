"""The network as an ONNX file, for ONNX Runtime, TensorRT and others: image crops in, MANO parameters out, for any number of hands."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

from ..network.model import WildHands
from .graph import Decoder, Encoder, WholeNetwork, example_inputs, outputs

_OPSET = 17


def export_onnx(model: WildHands, mean_pose: Tensor, path: Path) -> None:
    """Writes the whole network in float32 to ``path``; inputs and outputs have the names in ``graph``, and their first axis is free.

    :raises ImportError: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401 - PyTorch's exporter needs it and says so less clearly
    except ImportError as error:
        raise ImportError("the export needs onnx: pip install 'wildhands_ros[onnx]' (or: pip install onnx)") from error
    examples = example_inputs(model.config)
    names = outputs(model)
    rows = {name: {0: "image" if name == "images" else "hand"} for name in (*examples, *names)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are always the same here
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
