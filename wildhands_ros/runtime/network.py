"""Chooses the runtime, precision and device of the network, and hides them behind one call."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..config import AUTO, PRECISIONS, RUNTIMES
from ..network.network_file import NetworkFile
from ..network.preprocessing import NetworkInput
from .threads import one_torch_thread

if TYPE_CHECKING:
    from ..network.model import WildHands
    from .openvino import NetworkGraphs

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg", "/dev/kfd")
"""Without any of these, there is no GPU for PyTorch (desktop, Jetson, WSL, ROCm), which is then not imported."""


class RunningNetwork(Protocol):
    """A compiled network. Not thread-safe."""

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

    Args:
        network: the file, or the network in evaluation mode and on the CPU. It must not be used by the caller
            afterwards. Anything but an ONNX file needs PyTorch.
        mean_pose: (2, 45) radians, mean poses of the left and the right hand model.
        runtime: one of ``RUNTIMES``; auto is OpenVINO on a CPU if it is installed, otherwise ONNX Runtime for an ONNX
            file, otherwise PyTorch.
        precision: precision of the encoder, one of ``PRECISIONS``; auto is bfloat16 if the processor is fast at it,
            where it costs no measurable accuracy, otherwise float32.
        device: torch device, or auto for a GPU if there is one.

    Raises:
        ValueError: a choice is not available on this machine; the message says what to do.
    """
    runtime, precision, device = choose(runtime, precision, device, _onnx_file(network) is not None)
    file = _onnx_file(network)
    if file is not None and (file.mean_pose is None or not np.array_equal(file.mean_pose, mean_pose)):
        raise ValueError(
            f"{file.path} was exported for another hand model than the one that is used with it: set hand_model to "
            "the one it was trained with, or export the checkpoint again"
        )
    if runtime == "openvino":
        from .openvino import OpenVinoNetwork

        return OpenVinoNetwork(network_graphs(network, mean_pose), precision)
    if runtime == "onnxruntime":
        if file is None:
            raise ValueError("ONNX Runtime needs an ONNX file: make one with wildhands export-onnx")
        from .onnxruntime import OnnxRuntimeNetwork

        return OnnxRuntimeNetwork(file, precision)
    model = _model(network)
    from .pytorch import TorchNetwork

    return TorchNetwork(model, mean_pose, precision, device)


def choose(runtime: str, precision: str, device: str, is_onnx: bool) -> tuple[str, str, str]:
    """Replaces auto by the choice for this machine.

    Args:
        runtime: see ``run_network``.
        precision: see ``run_network``.
        device: see ``run_network``.
        is_onnx: whether the network is an ONNX file.

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
    for_cpu = runtime in ("openvino", "onnxruntime")
    if device == AUTO:
        device = "cuda" if not for_cpu and _has_cuda() else "cpu"
    if for_cpu and device != "cpu":
        raise ValueError(
            f"the runtime {runtime} runs on the CPU, not on {device!r}: set device to cpu, or runtime to torch"
        )
    lower = device.startswith("cuda") and _has_cuda() and _cuda_has_bfloat16()
    if device == "cpu" and runtime in (AUTO, "openvino"):
        try:
            from .openvino import has_bfloat16
        except ImportError as error:
            if runtime == "openvino":
                raise ValueError("the runtime openvino is not installed: pip install openvino") from error
        else:
            runtime, lower = "openvino", has_bfloat16()
    if device == "cpu" and runtime in (AUTO, "onnxruntime"):
        if find_spec("onnxruntime") is not None:
            runtime = "onnxruntime" if is_onnx or runtime != AUTO else runtime
        elif runtime == "onnxruntime":
            raise ValueError("the runtime onnxruntime is not installed: pip install onnxruntime")
    if precision == AUTO:
        precision = "bfloat16" if lower else "float32"
    return "torch" if runtime == AUTO else runtime, precision, device


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
