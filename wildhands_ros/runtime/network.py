"""Where the network runs: one choice, made once, behind one call."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..config import AUTO, PRECISIONS, RUNTIMES
from ..network.model import WildHands
from ..network.preprocessing import NetworkInput


class RunningNetwork(Protocol):
    """A network ready to run. Not for use from two threads at once."""

    name: str
    """For people: device, runtime and precision."""

    def __call__(self, inputs: NetworkInput, side: Tensor) -> dict[str, np.ndarray]:
        """The hands of one frame, B at least one.

        ``side`` (B,) int64 is of ``graph.RIGHT``, ``LEFT`` and ``BY_LANDMARKS``; what comes out ``graph.outputs`` says.
        """
        ...


def run_network(
    model: WildHands, mean_pose: Tensor, runtime: str = AUTO, precision: str = AUTO, device: str = AUTO
) -> RunningNetwork:
    """Makes a network ready.

    Args:
        model: in evaluation mode, on the CPU. It belongs to the result afterwards.
        mean_pose: (2, 45) radians of the left and the right hand model.
        runtime: of ``RUNTIMES``; auto is OpenVINO on a CPU where it is installed, PyTorch otherwise.
        precision: of the encoder, of ``PRECISIONS``; auto is what the processor is fast at and what costs no accuracy that can be measured.
        device: torch device, or auto for a GPU where there is one.

    :raises ValueError: a choice that cannot be had here; the message says what to do.
    """
    runtime, precision, device = choose(runtime, precision, device)
    if runtime == "openvino":
        from .openvino import OpenVinoNetwork

        return OpenVinoNetwork(model, mean_pose, precision)
    from .pytorch import TorchNetwork

    return TorchNetwork(model, mean_pose, precision, device)


def choose(runtime: str, precision: str, device: str) -> tuple[str, str, str]:
    """The same with what auto stands for on this machine.

    :raises ValueError: see ``run_network``.
    """
    if runtime not in RUNTIMES or precision not in PRECISIONS:
        raise ValueError(
            f"unknown runtime {runtime!r} or precision {precision!r}; known: {', '.join(RUNTIMES)}; {', '.join(PRECISIONS)}"
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
    """Whether ``precision`` may be int8 for these weights."""
    try:
        from .openvino import quantized_path
    except ImportError:
        return False
    return quantized_path(model).is_file()
