"""Chooses the runtime, precision and device of the network, and hides them behind one call."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..config import AUTO, PRECISIONS, RUNTIMES
from ..network.model import WildHands
from ..network.preprocessing import NetworkInput


class RunningNetwork(Protocol):
    """A compiled network. Not thread-safe."""

    name: str
    """Device, runtime and precision, for display."""

    def __call__(self, inputs: NetworkInput, side: Tensor) -> dict[str, np.ndarray]:
        """Runs the network on the B >= 1 hands of one frame.

        Args:
            inputs: the preprocessed crops.
            side: (B,) int64, one of ``graph.RIGHT``, ``LEFT`` and ``BY_LANDMARKS``.

        Returns:
            The outputs by name, see ``graph.outputs``.
        """
        ...


def run_network(
    model: WildHands, mean_pose: Tensor, runtime: str = AUTO, precision: str = AUTO, device: str = AUTO
) -> RunningNetwork:
    """Prepares a network for inference.

    Args:
        model: the network, in evaluation mode and on the CPU. It must not be used by the caller afterwards.
        mean_pose: (2, 45) radians, mean poses of the left and the right hand model.
        runtime: one of ``RUNTIMES``; auto is OpenVINO on a CPU if it is installed, otherwise PyTorch.
        precision: precision of the encoder, one of ``PRECISIONS``; auto is bfloat16 if the processor is fast at it,
            where it costs no measurable accuracy, otherwise float32.
        device: torch device, or auto for a GPU if there is one.

    Raises:
        ValueError: a choice is not available on this machine; the message says what to do.
    """
    runtime, precision, device = choose(runtime, precision, device)
    if runtime == "openvino":
        from .openvino import OpenVinoNetwork

        return OpenVinoNetwork(model, mean_pose, precision)
    from .pytorch import TorchNetwork

    return TorchNetwork(model, mean_pose, precision, device)


def choose(runtime: str, precision: str, device: str) -> tuple[str, str, str]:
    """Replaces auto by the choice for this machine.

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
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() and runtime != "openvino" else "cpu"
    if runtime == "openvino" and device != "cpu":
        raise ValueError(
            f"the runtime openvino runs on the CPU, not on {device!r}: set device to cpu, or runtime to torch"
        )
    lower = (
        device.startswith("cuda")
        and torch.cuda.is_available()
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    if device == "cpu" and runtime != "torch":
        try:
            from .openvino import has_bfloat16
        except ImportError as error:
            if runtime == "openvino":
                raise ValueError("the runtime openvino is not installed: pip install openvino") from error
        else:
            runtime, lower = "openvino", has_bfloat16()
    if precision == AUTO:
        precision = "bfloat16" if lower else "float32"
    return "torch" if runtime == AUTO else runtime, precision, device


def has_int8(model: WildHands) -> bool:
    """Whether these weights have been quantized, so that ``precision`` may be int8."""
    try:
        from .openvino import quantized_path
    except ImportError:
        return False
    return quantized_path(model).is_file()
