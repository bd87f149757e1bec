"""Runs the network on OpenVINO, several times as fast as PyTorch on a CPU. Compiled networks are cached."""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import openvino
from openvino import opset13 as opset
from openvino.passes import ConstantFolding, Manager

from .. import versions
from ..io.cache_files import cached_output, is_cached, open_cached, own_cache_folder
from ..io.cache_key import cache_key
from ..io.paths import cache_folder, data_folder
from ..network.config import WildHandsConfig
from ..network.network_file import NetworkFile
from ..network.openvino_core import openvino_core, read_onnx
from ..network.preprocessing import NetworkInput
from .signature import DECODER_INPUTS, POOLED, encoder_inputs, outputs, used_encoder_outputs
from .small_weights import with_small_weights
from .threads import openvino_threads

_logger = logging.getLogger("wildhands")

_EXACT = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
"""Options that keep activations in their precision where weights are quantized."""


@cache
def has_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class NetworkGraphs(Protocol):
    """The graphs of one network."""

    config: WildHandsConfig
    name: str
    """Identifies everything that the graphs depend on."""
    weights_name: str
    """Identifies configuration and weights."""
    encoder_outputs: tuple[str, ...]
    """Names of the encoder's outputs, in order; its inputs are ``signature.encoder_inputs``."""
    decoder_inputs: tuple[str, ...]
    """Names of the decoder's inputs, in order."""

    def whole(self) -> openvino.Model:
        """Returns encoder and decoder as one graph, which takes the encoder's inputs, then ``DECODER_INPUTS``."""
        ...

    def encoder(self) -> openvino.Model: ...

    def decoder(self) -> openvino.Model: ...


class OnnxGraphs:
    """The ``NetworkGraphs`` of an ONNX file, which is cut behind the encoder's outputs.

    Args:
        file: the file.
    """

    def __init__(self, file: NetworkFile) -> None:
        self.config, self._path = file.config, file.path
        self.name = self.weights_name = str(file.digest)[:32]
        self.encoder_outputs = used_encoder_outputs(file.config)
        self.decoder_inputs = (*self.encoder_outputs, *DECODER_INPUTS)

    def whole(self) -> openvino.Model:
        model = read_onnx(self._path)
        if POOLED in outputs(self.config) and not any(POOLED in output.get_names() for output in model.outputs):
            model.add_outputs("features")
        return model

    def encoder(self) -> openvino.Model:
        model = self.whole()
        places = _places(model)
        inputs = [places[name].get_node() for name in encoder_inputs(self.config)]
        return openvino.Model([opset.result(places[name]) for name in self.encoder_outputs], inputs)

    def decoder(self) -> openvino.Model:
        model = self.whole()
        places = _places(model)
        encoded = []
        for name in self.encoder_outputs:
            place = places[name]
            encoded.append(opset.parameter(place.get_partial_shape(), place.get_element_type(), name))
            for reader in place.get_target_inputs():
                reader.replace_source_output(encoded[-1].output(0))
        model = openvino.Model(model.get_results(), [*encoded, *(places[name].get_node() for name in DECODER_INPUTS)])
        # Weights are then constants in float32, as ``with_small_weights`` expects.
        folding = Manager()
        folding.register_pass(ConstantFolding())
        folding.run_passes(model)
        return model


def _places(model: openvino.Model) -> dict[str, openvino.Output]:
    """Returns the outputs of all nodes by the names of their tensors."""
    return {name: output for node in model.get_ops() for output in node.outputs() for name in output.get_names()}


class OpenVinoNetwork:
    """A ``network.RunningNetwork`` on OpenVINO.

    Preparing it takes seconds the first time, and less than one with a cached network.

    Args:
        graphs: the network.
        precision: float32, bfloat16 or int8.

    Raises:
        ValueError: the precision is not available here.
    """

    def __init__(self, graphs: NetworkGraphs, precision: str) -> None:
        core = openvino_core()
        if precision == "bfloat16" and not has_bfloat16():
            raise ValueError(
                "this processor has no bfloat16, which would only cost accuracy: set precision to auto or float32"
            )
        self._inputs, self._outputs = encoder_inputs(graphs.config), outputs(graphs.config)
        self._encoder_outputs, self._decoder_inputs = graphs.encoder_outputs, graphs.decoder_inputs
        quantized = quantized_encoder(graphs) if precision == "int8" else None
        made_at = quantized and quantized.stat().st_mtime_ns
        compiler = Compiler(core, f"{graphs.name}-{cache_key([versions.GRAPH, precision, made_at])}")
        self._graphs: tuple[Compiled, ...]
        """The whole network, or encoder and decoder."""
        if precision == "float32":
            self._graphs = (compiler.compiled("whole", graphs.whole, "f32"),)
        else:
            make_encoder = partial(core.read_model, quantized) if quantized else graphs.encoder
            encoder = compiler.compiled("encoder", make_encoder, "bf16" if has_bfloat16() else "f32")
            decoder = compiler.compiled("decoder", lambda: with_small_weights(graphs.decoder()), "f32")
            self._graphs = encoder, decoder
        self.name = f"cpu (OpenVINO, {precision})"

    def __call__(self, inputs: NetworkInput, side: np.ndarray) -> dict[str, np.ndarray]:
        values = {**inputs.arrays(), "side": side, "image_index": np.zeros(len(side), np.int64)}
        first, *rest = self._graphs
        results = first(*(values[name] for name in (*self._inputs, *([] if rest else DECODER_INPUTS))))
        for decoder in rest:
            values |= dict(zip(self._encoder_outputs, results, strict=True))
            results = decoder(*(values[name] for name in self._decoder_inputs))
        named = dict(zip(self._outputs, results, strict=True))
        return named | {"is_right": named["is_right"].astype(bool)}


def quantized_path(graphs: NetworkGraphs) -> Path:
    """Path to which ``wildhands quantize`` writes the int8 encoder of these weights: an .xml, with a .bin beside it."""
    return data_folder() / "int8" / f"{graphs.weights_name}-{versions.GRAPH}.xml"


def quantized_encoder(graphs: NetworkGraphs) -> Path:
    """Returns the file of the int8 encoder.

    Raises:
        ValueError: these weights have not been quantized.
    """
    path = quantized_path(graphs)
    if not all(map(is_cached, (path, path.with_suffix(".bin")))):
        raise ValueError(
            "this network has not been quantized yet, or its file is damaged: run wildhands quantize once, with the "
            "same --checkpoint"
        )
    return path


def compile_exactly(graph: openvino.Model) -> Compiled:
    """Compiles a graph in float32, without the cache."""
    return Compiled(openvino_core().compile_model(graph, "CPU", {**_EXACT, "INFERENCE_PRECISION_HINT": "f32"}))


class Compiled:
    """A compiled graph, which may be called from several threads at once.

    Args:
        graph: the graph.
        blob: the memory-mapped cache file from which the graph was loaded, if any; its weights are not copied.
    """

    def __init__(self, graph: openvino.CompiledModel, blob: mmap.mmap | None = None) -> None:
        self._graph, self._blob = graph, blob
        self._lock = threading.Lock()
        self._idle: list[openvino.InferRequest] = []
        self._sizes_run: set[int] = set()

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the graph. Inputs are not copied; outputs are, because the next call overwrites OpenVINO's own."""
        with self._lock:
            request = self._idle.pop() if self._idle else self._graph.create_infer_request()
        outputs = list(request.infer(inputs, share_inputs=True, share_outputs=False).to_tuple())
        with self._lock:
            self._idle.append(request)
            if self._blob is not None and len(inputs[0]) not in self._sizes_run:
                # OpenVINO rearranges the weights for each new number of rows, in memory of its own. The file's pages
                # are a third of a network's memory; they are then not read again and need not stay.
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

    def compiled(
        self, part: str, make: Callable[[], openvino.Model], hint: str, side_by_side: bool = False
    ) -> Compiled:
        """Returns a compiled graph.

        Args:
            part: name of the graph within this cache key.
            make: makes the graph if it is not cached.
            hint: OpenVINO's inference precision.
            side_by_side: whether each call runs on one thread, beside others, instead of on all threads.
        """
        threads = openvino_threads(side_by_side)
        options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", **_EXACT, **threads}
        path = cache_folder() / "openvino" / f"{self._name}-{part}.blob"
        kept = self._kept(path, options)
        if kept is not None:
            return kept
        compiled = self._core.compile_model(make(), "CPU", options)
        _keep(path, compiled)
        return self._kept(path, options) or Compiled(compiled)

    def _kept(self, path: Path, options: dict[str, object]) -> Compiled | None:
        file = open_cached(path)
        if file is None:
            return None
        try:
            with file:
                # Copy on write: OpenVINO accepts only writable memory, but never writes to it.
                blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            graph = self._core.import_model(
                openvino.Tensor(np.frombuffer(blob, np.uint8), shared_memory=True), "CPU", options
            )
        except (OSError, RuntimeError, ValueError):
            with suppress(OSError):  # in a folder of another user
                path.unlink()  # written by another build of OpenVINO
            return None
        return Compiled(graph, blob)


def _keep(path: Path, compiled: openvino.CompiledModel) -> None:
    """Writes a cache file completely or not at all. Without a writable home, the network is only slower to start."""
    try:
        own_cache_folder(path.parent.name)
        with cached_output(path) as partial:
            partial.write_bytes(compiled.export_model().getvalue())
    except OSError as error:
        _logger.info("the compiled network is not kept: %s", error)
