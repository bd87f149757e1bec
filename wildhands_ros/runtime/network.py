"""Chooses the runtime, precision and device of the network, and hides them behind one call."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..config import AUTO, BFLOAT16, FLOAT32, INT8, ONNXRUNTIME, OPENVINO, PRECISIONS, RUNTIMES, TORCH
from ..network.network_file import NetworkFile
from ..network.preprocessing import NetworkInput
from .fastest import fastest
from .shared import shared
from .threads import inference_threads, one_torch_thread

if TYPE_CHECKING:
    from ..network.model import WildHands
    from .openvino import NetworkGraphs

_logger = logging.getLogger(__name__)

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg", "/dev/kfd")
"""Without any of these, there is no GPU for PyTorch (desktop, Jetson, WSL, ROCm), which is then not imported."""


class RunningNetwork(Protocol):
    """A compiled network. It may be called from several threads at once."""

    name: str
    """Device, runtime and precision, for display."""

    def __call__(self, inputs: NetworkInput, side: np.ndarray) -> dict[str, np.ndarray]:
        """Runs the network on the B >= 1 hands of one frame.

        Args:
            inputs: the preprocessed crops.
            side: (B,) int64, one of ``signature.RIGHT``, ``LEFT`` and ``BY_LANDMARKS``.

        Returns:
            The outputs by name, see ``signature.outputs``.
        """
        ...


def run_network(
    network: NetworkFile | WildHands,
    mean_pose: np.ndarray,
    runtime: str = AUTO,
    precision: str = AUTO,
    device: str = AUTO,
) -> RunningNetwork:
    """Prepares a network for inference.

    An ONNX file that is in use already, with the same choices, is not loaded again: several estimators in one process
    share its network.

    Args:
        network: the file, or the network in evaluation mode and on the CPU. It must not be used by the caller
            afterwards. Anything but an ONNX file needs PyTorch.
        mean_pose: (2, 45) radians, mean poses of the left and the right hand model.
        runtime: one of ``RUNTIMES``; see ``choose`` for auto.
        precision: precision of the encoder, one of ``PRECISIONS``; auto is bfloat16 if the processor is fast at it,
            where it costs no measurable accuracy, otherwise float32.
        device: torch device, or auto for a GPU if there is one.

    Raises:
        ValueError: a choice is not available on this machine; the message says what to do.
    """
    file = _onnx_file(network)
    if file is None:
        return _run_network(network, mean_pose, runtime, precision, device)
    key = file.path, file.digest, mean_pose.tobytes(), runtime, precision, device, inference_threads()
    return shared(key, lambda: _run_network(file, mean_pose, runtime, precision, device))


def _run_network(
    network: NetworkFile | WildHands, mean_pose: np.ndarray, runtime: str, precision: str, device: str
) -> RunningNetwork:
    chosen = choose(network, runtime, precision, device)
    try:
        return _run(network, mean_pose, *chosen)
    except ImportError as error:
        others = [other for other in (ONNXRUNTIME, OPENVINO) if other != chosen[0] and find_spec(other) is not None]
        message = f"the runtime {chosen[0]} is installed, but cannot be used here ({error}): install it again"
        if runtime != AUTO or not others or _onnx_file(network) is None:
            raise ValueError(f"{message}, or set runtime to another one") from error
        _logger.warning("%s; %s is used", message, others[0])
        return _run_network(network, mean_pose, others[0], precision, device)


def _run(
    network: NetworkFile | WildHands, mean_pose: np.ndarray, runtime: str, precision: str, device: str
) -> RunningNetwork:
    """Does what ``run_network`` does, given choices of ``choose``.

    Raises:
        ImportError: The runtime cannot be used here.
        ValueError: see ``run_network``.
    """
    file = _onnx_file(network)
    if file is not None and (file.mean_pose is None or not np.array_equal(file.mean_pose, mean_pose)):
        raise ValueError(
            f"{file.path} was exported for another hand model than the one that is used with it: set hand_model to "
            "the one it was trained with, or export the checkpoint again"
        )
    if runtime == OPENVINO:
        from .openvino import OpenVinoNetwork

        return OpenVinoNetwork(network_graphs(network, mean_pose), precision)
    if runtime == ONNXRUNTIME:
        if file is None:
            raise ValueError("ONNX Runtime needs an ONNX file: make one with wildhands export-onnx")
        from .onnxruntime import OnnxRuntimeNetwork

        return OnnxRuntimeNetwork(file, precision)
    model = _model(network)
    from .pytorch import TorchNetwork

    return TorchNetwork(model, mean_pose, precision, device)


def choose(
    network: NetworkFile | WildHands, runtime: str = AUTO, precision: str = AUTO, device: str = AUTO
) -> tuple[str, str, str]:
    """Replaces auto by the choice for this machine.

    On a CPU, the runtime of an ONNX file is the faster one of OpenVINO and ONNX Runtime, as measured at the first start
    (``fastest``). If that cannot be kept, it is OpenVINO on processors with bfloat16, otherwise ONNX Runtime. Networks
    without an ONNX file run on OpenVINO, or on PyTorch if that is not installed.

    Args:
        network: see ``run_network``.
        runtime: see ``run_network``.
        precision: see ``run_network``.
        device: see ``run_network``.

    Returns:
        Runtime, precision and device.

    Raises:
        ValueError: see ``run_network``.
    """
    if runtime not in RUNTIMES or precision not in PRECISIONS:
        raise ValueError(
            f"unknown runtime {runtime!r} or precision {precision!r}; known runtimes: {', '.join(RUNTIMES)}; "
            f"known precisions: {', '.join(PRECISIONS)}"
        )
    for_cpu = runtime in (OPENVINO, ONNXRUNTIME)
    if device == AUTO:
        device = "cuda" if not for_cpu and _has_cuda() else "cpu"
    if for_cpu and device != "cpu":
        raise ValueError(
            f"the runtime {runtime} runs on the CPU, not on {device!r}: set device to cpu, or runtime to torch"
        )
    if for_cpu and find_spec(runtime) is None:
        raise ValueError(f"the runtime {runtime} is not installed: pip install {runtime}")
    if runtime == AUTO and device == "cpu":
        runtime, precision = _cpu_runtime(_onnx_file(network), precision)
    if runtime == AUTO:
        runtime = TORCH
    if precision == AUTO:
        precision = BFLOAT16 if _is_fast_in_bfloat16(runtime, device) else FLOAT32
    return runtime, precision, device


def _cpu_runtime(file: NetworkFile | None, precision: str) -> tuple[str, str]:
    """Returns the runtime on a CPU, and the precision if that was measured, too."""
    installed = [runtime for runtime in (OPENVINO, ONNXRUNTIME) if find_spec(runtime) is not None]
    if file is None or precision in (BFLOAT16, INT8):  # for OpenVINO only
        return OPENVINO if OPENVINO in installed else TORCH, precision
    if len(installed) > 1:
        found = fastest(file, installed, precision)
        if found is not None:
            return found.runtime, found.precision
        return OPENVINO if _is_fast_in_bfloat16(OPENVINO, "cpu") else ONNXRUNTIME, precision
    return (installed or [TORCH])[0], precision


def _is_fast_in_bfloat16(runtime: str, device: str) -> bool:
    if device.startswith("cuda"):
        return _has_cuda() and _cuda_has_bfloat16()
    if runtime != OPENVINO:
        return False
    try:
        from .openvino import has_bfloat16
    except ImportError:
        return False

    return has_bfloat16()


def has_int8(network: NetworkFile | WildHands) -> bool:
    """Whether these weights have been quantized, so that ``precision`` may be int8."""
    try:
        from .openvino import quantized_path
    except ImportError:
        return False
    return quantized_path(network_graphs(network)).is_file()


def network_graphs(network: NetworkFile | WildHands, mean_pose: np.ndarray | None = None) -> NetworkGraphs:
    """Returns a network's graphs for OpenVINO.

    Args:
        network: see ``run_network``.
        mean_pose: see ``run_network``; None if only the encoder is needed, which does not depend on it.

    Raises:
        ImportError: OpenVINO is not installed.
        ValueError: see ``run_network``.
    """
    file = _onnx_file(network)
    if file is not None:
        from .openvino import OnnxGraphs

        return OnnxGraphs(file)
    model = _model(network)
    from .openvino_torch import TorchGraphs

    return TorchGraphs(model, np.zeros((2, 45), np.float32) if mean_pose is None else mean_pose)


def _onnx_file(network: NetworkFile | WildHands) -> NetworkFile | None:
    return network if isinstance(network, NetworkFile) and network.is_onnx else None


def _model(network: NetworkFile | WildHands) -> WildHands:
    if not isinstance(network, NetworkFile):
        return network
    if find_spec("torch") is None:
        raise ValueError(
            f"{network.path} can only be used with PyTorch on this machine. Either install it (pip install "
            "'wildhands_ros[gpu]'), or make an ONNX file where it is installed (wildhands export-onnx) and use that"
        )
    from ..network.checkpoint import load_model

    with one_torch_thread():
        return load_model(network.path).model


def _has_cuda() -> bool:
    if find_spec("torch") is None or not any(Path(device).exists() for device in _GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()


def _cuda_has_bfloat16() -> bool:
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
