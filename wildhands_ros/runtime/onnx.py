"""Writes networks to ONNX files, from which every runtime and the training read them.

Initializers keep the names and values of the state dict. Those that half precision represents exactly are stored in
half precision, each with a node that converts it to float32.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..io.files import OutputFile
from ..network.detector_net import HandDetectorNet
from ..network.model import WildHands
from ..network.network_file import DETECTOR_FORMAT, NETWORK_FORMAT, WEIGHTS_PREFIX
from .graph import Decoder, Encoder, WholeNetwork, example_inputs
from .signature import encoder_outputs, outputs

if TYPE_CHECKING:
    import onnx

_OPSET = 17


def export_onnx(model: WildHands, mean_pose: np.ndarray, path: Path, license_note: str = "") -> None:
    """Writes the whole network. Its inputs and outputs have the names in ``signature``; their first axis is dynamic.

    Args:
        model: the network, in evaluation mode.
        mean_pose: (2, 45) radians, mean poses of the left and the right hand model.
        path: the file to write.
        license_note: text for the metadata.

    Raises:
        ImportError: onnx is not installed.
        OSError: the file cannot be written; the message gives the reason.
    """
    examples, names = example_inputs(model.config), outputs(model.config)
    encoded = encoder_outputs(model.config)
    rows = {name: {0: "image" if name == "images" else "hand"} for name in (*examples, *names, *encoded)}
    graph = _exported(_WithEncoded(Encoder(model), Decoder(model, mean_pose)), examples, (*names, *encoded), rows)
    # The exporter names only inputs and outputs; the runtimes cut the graph behind the encoder's outputs.
    del graph.graph.output[len(names) :]
    _write(
        graph,
        {f"{WEIGHTS_PREFIX}{key}": value for key, value in model.state_dict().items()},
        {
            "format": NETWORK_FORMAT,
            "config": model.config.to_json(),
            "mean_pose": json.dumps(np.asarray(mean_pose, np.float64).tolist()),
            "license": license_note,
        },
        path,
    )


def save_detector(net: HandDetectorNet, path: Path) -> None:
    """Writes a hand detector in half precision. It takes ``images`` (1, 3, H, W), whose sides are multiples of 32.

    Raises:
        ImportError: onnx is not installed.
        OSError: the file cannot be written; the message gives the reason.
    """
    rounded = HandDetectorNet()
    rounded.load_state_dict({name: tensor.detach().cpu().half().float() for name, tensor in net.state_dict().items()})
    names = ("palm_logits", "palm_boxes", "hand_maps")
    axes = {
        "images": {2: "height", 3: "width"},
        "palm_logits": {1: "anchor"},
        "palm_boxes": {1: "anchor"},
        "hand_maps": {2: "row", 3: "column"},
    }
    graph = _exported(rounded, {"images": torch.zeros(1, 3, 64, 96)}, names, axes)
    _write(graph, rounded.state_dict(), {"format": DETECTOR_FORMAT}, path)


class _WithEncoded(WholeNetwork):
    """The whole network with the encoder's outputs as further outputs."""

    def forward(self, crops: Tensor, kpe: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *images, side, focal, anchor, turn = rest
        encoded = self.encoder(crops, kpe, *images)
        features, vector, position, *seen = encoded
        return *self.decoder(features, vector, position, side, focal, anchor, turn, *seen), *encoded


def _exported(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    names: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError as error:
        raise ImportError("the export needs onnx: pip install 'wildhands_ros[onnx]' (or: pip install onnx)") from error
    exported = BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns about shapes, which are constant here
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            exported,  # type: ignore[arg-type]  # without dynamo, file objects are accepted; the stub omits them
            input_names=list(inputs),
            output_names=list(names),
            dynamic_axes={name: dict(sizes) for name, sizes in axes.items()},
            opset_version=_OPSET,
            dynamo=False,
            # Otherwise batch normalisation is merged into the layer before, and weights are transposed and renamed.
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    graph = onnx.load_model_from_string(exported.getvalue())
    _merge_padding(graph.graph)
    return graph


def _merge_padding(graph: onnx.GraphProto) -> None:
    """Replaces the padding in front of convolutions (``SameConv2d``) by their own, which may be uneven.

    PyTorch's convolutions only know even padding. Between a convolution and the next, a node of its own makes ONNX
    Runtime change the memory layout twice.
    """
    padded = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    for node in graph.node:
        if node.op_type != "Conv" or node.input[0] not in padded:
            continue
        attributes = {attribute.name: attribute.ints for attribute in node.attribute}
        totals = [k - s for k, s in zip(attributes["kernel_shape"], attributes["strides"], strict=True)]
        before = [total // 2 for total in totals]
        attributes["pads"][:] = [*before, *(total - first for total, first in zip(totals, before, strict=True))]
        node.input[0] = padded[node.input[0]].input[0]
    used = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _write(graph: onnx.ModelProto, state: Mapping[str, Tensor], metadata: dict[str, str], path: Path) -> None:
    """Adds the state dict's tensors that the graph lacks, and the metadata; writes the file."""
    import onnx

    # The exporter keeps one of several equal tensors, from which it copies the others, and drops unused counters.
    copies = [node for node in graph.graph.node if node.op_type == "Identity" and node.output[0] in state]
    for node in copies:
        graph.graph.node.remove(node)
    used = {tensor.name for tensor in graph.graph.initializer} | {node.output[0] for node in copies}
    present = {tensor.name for tensor in graph.graph.initializer}
    for name in sorted(state.keys() - present):
        graph.graph.initializer.append(onnx.numpy_helper.from_array(state[name].numpy(), name))
    _store_in_half_precision(graph.graph, used)
    graph.producer_name, graph.producer_version, graph.doc_string = "wildhands_ros", "", ""
    for node in graph.graph.node:
        node.doc_string = ""  # paths of source files
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph)
    with OutputFile(path) as file:
        try:
            file.write_bytes(graph.SerializeToString(deterministic=True))
        except OSError as error:
            raise OSError(f"cannot write {path}: {error.strerror}") from error


def _store_in_half_precision(graph: onnx.GraphProto, used: set[str]) -> None:
    import onnx

    converted, casts = {}, []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
        if tensor.name in used:
            converted[tensor.name] = f"{tensor.name}/float32"
            casts.append(
                onnx.helper.make_node("Cast", [tensor.name], [converted[tensor.name]], to=onnx.TensorProto.FLOAT)
            )
    for node in graph.node:
        node.input[:] = [converted.get(name, name) for name in node.input]
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
