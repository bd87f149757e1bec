"""Runs the network on OpenVINO, several times as fast as PyTorch on a CPU. Compiled networks are cached."""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from .. import versions
from ..io.cache_key import cache_key
from ..io.paths import cache_folder, data_folder
from ..network.model import WildHands
from ..network.preprocessing import NetworkInput
from ..network.weights_digest import weights_digest
from .graph import DECODER_INPUTS, Decoder, Encoder, WholeNetwork, encoder_inputs, example_inputs, outputs
from .small_weights import with_small_weights
from .threads import openvino_threads

_EXACT = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
"""Options that keep activations in their precision where weights are quantized."""


@cache
def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoNetwork:
    """A ``network.RunningNetwork`` on OpenVINO.

    Preparing it takes seconds the first time, and less than one with a cached network.

    Args:
        model: see ``network.run_network``.
        mean_pose: see ``network.run_network``.
        precision: float32, bfloat16 or int8.

    Raises:
        ValueError: the precision is not available here.
    """

    def __init__(self, model: WildHands, mean_pose: Tensor, precision: str) -> None:
        core = openvino.Core()
        if precision == "bfloat16" and not has_bfloat16():
            raise ValueError(
                "this processor has no bfloat16, which would only cost accuracy: set precision to auto or float32"
            )
        self._inputs, self._outputs = encoder_inputs(model.config), outputs(model)
        quantized = quantized_encoder(model) if precision == "int8" else None
        made_at = quantized and quantized.stat().st_mtime_ns
        compiler = Compiler(
            core, f"{_name(model)}-{cache_key([versions.GRAPH, mean_pose.tolist(), precision, made_at])}"
        )
        self._graphs: tuple[Compiled, ...]
        """The whole network, or encoder and decoder."""
        if precision == "float32":
            whole = WholeNetwork(Encoder(model), Decoder(model, mean_pose))
            examples = list(example_inputs(model.config).values())
            self._graphs = (compiler.compiled("whole", lambda: convert(whole, examples), "f32"),)
        else:
            make_encoder = partial(core.read_model, quantized) if quantized else partial(convert_encoder, model)
            encoder = compiler.compiled("encoder", make_encoder, "bf16" if has_bfloat16() else "f32")
            decoder = compiler.compiled("decoder", lambda: with_small_weights(convert_decoder(model, mean_pose)), "f32")
            self._graphs = encoder, decoder
        self.name = f"cpu (OpenVINO, {precision})"

    def __call__(self, inputs: NetworkInput, side: Tensor) -> dict[str, np.ndarray]:
        values = {name: tensor.numpy() for name, tensor in inputs.tensors().items()}
        values |= {"side": side.numpy(), "image_index": np.zeros(len(side), np.int64)}
        of_decoder = [values[name] for name in DECODER_INPUTS]
        of_encoder = [values[name] for name in self._inputs]
        first, *rest = self._graphs
        results = first(*of_encoder, *([] if rest else of_decoder))
        for decoder in rest:
            features, vector, position, *seen = results
            results = decoder(features, vector, position, *of_decoder, *seen)
        named = dict(zip(self._outputs, results, strict=True))
        return named | {"is_right": named["is_right"].astype(bool)}


def convert(
    module: nn.Module, examples: Sequence[Tensor], shapes: Sequence[Sequence[int]] | None = None
) -> openvino.Model:
    """Converts a module to an OpenVINO graph.

    Args:
        module: the module.
        examples: its inputs.
        shapes: shapes of the inputs, with -1 for a dynamic size; by default the first axis is dynamic.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer warns about shapes, which are constant here
        shapes = shapes or [[-1, *example.shape[1:]] for example in examples]
        return openvino.convert_model(module.eval(), example_input=tuple(examples), input=list(shapes))


def convert_encoder(model: WildHands) -> openvino.Model:
    """Returns ``graph.Encoder`` as an OpenVINO graph."""
    examples = example_inputs(model.config)
    return convert(Encoder(model), [examples[name] for name in encoder_inputs(model.config)])


@torch.no_grad()
def convert_decoder(model: WildHands, mean_pose: Tensor) -> openvino.Model:
    """Returns ``graph.Decoder`` as an OpenVINO graph."""
    examples = example_inputs(model.config)
    encoded = Encoder(model)(*(examples[name] for name in encoder_inputs(model.config)))
    return convert(
        Decoder(model, mean_pose), [*encoded[:3], *(examples[name] for name in DECODER_INPUTS), *encoded[3:]]
    )


def _name(model: WildHands) -> str:
    """Returns a name that identifies a network's configuration and weights."""
    return cache_key([model.config.to_json(), weights_digest(model)])


def quantized_path(model: WildHands) -> Path:
    """Path to which ``wildhands quantize`` writes the int8 encoder of these weights: an .xml, with a .bin beside it."""
    return data_folder() / "int8" / f"{_name(model)}-{versions.GRAPH}.xml"


def quantized_encoder(model: WildHands) -> Path:
    """Returns the file of the int8 encoder.

    Raises:
        ValueError: these weights have not been quantized.
    """
    path = quantized_path(model)
    if not path.is_file():
        raise ValueError(
            "this network has not been quantized yet: run wildhands quantize once, with the same --checkpoint"
        )
    return path


def compile_exactly(graph: openvino.Model) -> Compiled:
    """Compiles a graph in float32, without the cache."""
    return Compiled(openvino.Core().compile_model(graph, "CPU", {**_EXACT, "INFERENCE_PRECISION_HINT": "f32"}))


class Compiled:
    """A compiled graph.

    Args:
        graph: the graph.
        blob: the memory-mapped cache file from which the graph was loaded, if any; its weights are not copied.
    """

    def __init__(self, graph: openvino.CompiledModel, blob: mmap.mmap | None = None) -> None:
        self._graph, self._blob = graph, blob
        self._sizes_run: set[int] = set()

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the graph. Inputs are not copied; outputs are, because the next call overwrites OpenVINO's own."""
        outputs = list(self._graph(inputs, share_inputs=True, share_outputs=False).to_tuple())
        if self._blob is not None and len(inputs[0]) not in self._sizes_run:
            # OpenVINO rearranges the weights for each new number of rows, in memory of its own. The file's pages are
            # a third of a network's memory; they are then not read again and need not stay.
            self._sizes_run.add(len(inputs[0]))
            self._blob.madvise(mmap.MADV_DONTNEED)
        return outputs


class Compiler:
    """Compiles graphs, or loads them from the cache.

    Args:
        core: OpenVINO's core.
        name: cache key for everything that a graph depends on, besides the processor and OpenVINO's version.
    """

    def __init__(self, core: openvino.Core, name: str) -> None:
        self._core = core
        processor = core.get_property("CPU", "FULL_DEVICE_NAME"), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._name = f"{name}-{cache_key([openvino.__version__, *processor])}"

    def compiled(self, part: str, make: Callable[[], openvino.Model], hint: str) -> Compiled:
        """Returns a compiled graph.

        Args:
            part: name of the graph within this cache key.
            make: makes the graph if it is not cached.
            hint: OpenVINO's inference precision.
        """
        options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", **_EXACT, **openvino_threads()}
        path = cache_folder() / "openvino" / f"{self._name}-{part}.blob"
        kept = self._kept(path, options)
        if kept is not None:
            return kept
        compiled = self._core.compile_model(make(), "CPU", options)
        _keep(path, compiled)
        return self._kept(path, options) or Compiled(compiled)

    def _kept(self, path: Path, options: dict[str, object]) -> Compiled | None:
        try:
            with path.open("rb") as file:
                # Copy on write: OpenVINO accepts only writable memory, but never writes to it.
                blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            graph = self._core.import_model(
                openvino.Tensor(np.frombuffer(blob, np.uint8), shared_memory=True), "CPU", options
            )
        except OSError:
            return None  # not cached yet
        except (RuntimeError, ValueError):
            path.unlink(missing_ok=True)  # damaged, empty, or written by another build of OpenVINO
            return None
        return Compiled(graph, blob)


def _keep(path: Path, compiled: openvino.CompiledModel) -> None:
    """Writes a cache file completely or not at all. Without a writable home, the network is only slower to start."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(compiled.export_model().getvalue())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
