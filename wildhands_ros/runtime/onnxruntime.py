"""Runs networks on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime

from ..network.network_file import WEIGHTS_PREFIX, NetworkFile, detector_digest
from ..network.onnx_file import graph_up_to, output_names, read_weights, unusable, with_output
from ..network.preprocessing import NetworkInput
from .half_decoder import ENCODER_OUTPUTS, HalfDecoder, can_decode
from .signature import DECODER_INPUTS, detector_input, encoder_output_sizes, outputs
from .threads import inference_threads


class OnnxRuntimeNetwork:
    """A ``network.RunningNetwork`` on ONNX Runtime, in float32.

    A single hand runs on all threads. Several hands run side by side, with half of the threads each: threads that share
    one layer wait for one another at each of a hundred layers. If several images are in work at once, for example of
    several cameras, each calling thread runs those of its hands that no other thread has begun with.

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
        self._outputs = outputs(file.config)
        threads = inference_threads()
        runs = _decoded_in_halves if can_decode(file.config) else _decoded_by_graph
        by_threads = list(runs(file, (threads,) if threads == 1 else (threads, threads // 2)))
        self._run_alone, self._run_beside_others = by_threads[0], by_threads[-1]
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None
        """Threads beside the calling one."""

    def __call__(self, inputs: NetworkInput, side: np.ndarray) -> dict[str, np.ndarray]:
        values = {**inputs.arrays(), "side": side, "image_index": np.zeros(len(side), np.int64)}
        # The whole image, which is not one row for each hand, belongs to every hand.
        rows = [
            {name: value if name == "images" else value[i : i + 1] for name, value in values.items()}
            for i in range(len(side))
        ]
        if self._pool is None or len(rows) == 1:
            found = list(map(self._run_alone, rows))
        else:
            found = _side_by_side(self._run_beside_others, rows, self._pool)
        return {name: np.concatenate([hand[name] for hand in found]) for name in self._outputs}


def _side_by_side(
    run: _Run, rows: Sequence[Mapping[str, np.ndarray]], pool: ThreadPoolExecutor
) -> list[dict[str, np.ndarray]]:
    """Runs several hands on this thread and those of a pool, as far as these are free."""
    others = [pool.submit(run, row) for row in rows[1:]]
    found = [run(rows[0])]
    # The last first: those that the pool has not begun with.
    own = {i: run(rows[i]) for i in range(len(rows) - 1, 0, -1) if others[i - 1].cancel()}
    return found + [own[i] if i in own else other.result() for i, other in enumerate(others, 1)]


_Run: TypeAlias = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""Runs the network on one hand: from the inputs to the outputs, with a first axis of one row."""


def _decoded_by_graph(file: NetworkFile, threads: Sequence[int]) -> Iterator[_Run]:
    """Yields the whole network on ONNX Runtime, for each number of threads."""
    names = outputs(file.config)
    content = file.path.read_bytes()
    in_file = [name if name in output_names(content) else "features" for name in names]
    if "features" in in_file:
        content = with_output(content, "features", encoder_output_sizes(file.config)["features"])

    def run(
        session: onnxruntime.InferenceSession, taken: Sequence[str], values: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(in_file, {name: values[name] for name in taken}), strict=True))

    for count in threads:
        session = _session(file.path, count, content)
        yield partial(run, session, [node.name for node in session.get_inputs()])


def _decoded_in_halves(file: NetworkFile, threads: Sequence[int]) -> Iterator[_Run]:
    """Yields the encoder on ONNX Runtime, for each number of threads, followed by the decoder in half precision."""
    sizes = encoder_output_sizes(file.config)
    encoder_graph = graph_up_to(file.path.read_bytes(), {name: sizes[name] for name in ENCODER_OUTPUTS})
    weights = {name.removeprefix(WEIGHTS_PREFIX): value for name, value in read_weights(file.path).items()}
    assert file.mean_pose is not None  # it is an ONNX file
    try:
        decoder = HalfDecoder(weights, file.mean_pose)
    except KeyError as error:
        raise ValueError(unusable(file.path, "the decoder", error)) from error

    def run(
        encoder: onnxruntime.InferenceSession, taken: Sequence[str], values: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        features, position = encoder.run(list(ENCODER_OUTPUTS), {name: values[name] for name in taken})
        side, focal, anchor, turn = (values[name][0] for name in DECODER_INPUTS)
        hand = decoder(features.ravel(), position.ravel(), int(side), float(focal), anchor, float(turn))
        return {name: value[None] for name, value in hand.items()}

    for count in threads:
        encoder = _session(file.path, count, encoder_graph)
        yield partial(run, encoder, [node.name for node in encoder.get_inputs()])


class OnnxRuntimeDetector:
    """Runs the hand detector's network on one image at a time.

    Args:
        path: the detector's ONNX file.
        side_by_side: see ``detector.run_detector``.

    Raises:
        ValueError: the file does not hold a hand detector.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, side_by_side: bool = False) -> None:
        detector_digest(path)
        self._session = _session(path, 1 if side_by_side else inference_threads())

    def __call__(self, image_rgb: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the outputs of ``HandDetectorNet`` for an (h, w, 3) uint8 image, without their batch axis."""
        results = self._session.run(None, {"images": detector_input(image_rgb)})
        return tuple(output[0] for output in results)


def _session(path: Path, threads: int, part: bytes | None = None) -> onnxruntime.InferenceSession:
    """Loads a network, or a part that was cut from it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while they wait would take the cores from one another.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # the training's counters in the file are no reason for warnings
    try:
        return onnxruntime.InferenceSession(
            str(path) if part is None else part, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ValueError(unusable(path, "ONNX Runtime", error)) from error
