"""Runs the network on PyTorch: on GPUs, and on CPUs without OpenVINO."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from ..network.model import WildHands
from ..network.preprocessing import NetworkInput
from .graph import DECODER_INPUTS, Decoder, Encoder, encoder_inputs, outputs


class TorchNetwork:
    """A ``network.RunningNetwork`` on PyTorch.

    Args:
        model: see ``network.run_network``.
        mean_pose: see ``network.run_network``.
        precision: float32 or bfloat16.
        device: a torch device.

    Raises:
        ValueError: the precision or the device is not available here.
    """

    def __init__(self, model: WildHands, mean_pose: Tensor, precision: str, device: str) -> None:
        if precision == "int8":
            raise ValueError("PyTorch runs the network in float32 or bfloat16: set runtime to openvino for int8")
        try:
            self._device = torch.device(device)
            self._encoder = Encoder(model).to(self._device).to(memory_format=torch.channels_last).eval()
            self._decoder = Decoder(model, mean_pose).to(self._device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"device {device!r} cannot be used here ({str(error).splitlines()[0]}): set auto or cpu"
            ) from error
        lower = precision == "bfloat16"
        self._autocast = (lambda: torch.autocast(self._device.type, torch.bfloat16)) if lower else nullcontext
        self._pinned = self._device.type == "cuda"
        self._inputs, self._outputs = encoder_inputs(model.config), outputs(model)
        self.name = f"{self._device} (PyTorch, {precision})"

    @torch.inference_mode()
    def __call__(self, inputs: NetworkInput, side: Tensor) -> dict[str, np.ndarray]:
        hands = len(side)
        values = {"image_index": torch.zeros(hands, dtype=torch.int64), **inputs.tensors(), "side": side}
        if self._pinned:
            values = {name: value.pin_memory() for name, value in values.items()}
        values = {name: value.to(self._device, non_blocking=True) for name, value in values.items()}
        with self._autocast():
            features, vector, position, *seen = self._encoder(*(values[name] for name in self._inputs))
        seen = [value.float() for value in seen]
        decoder_inputs = (values[name] for name in DECODER_INPUTS)
        results = self._decoder(features.float(), vector.float(), position.float(), *decoder_inputs, *seen)
        # A single transfer is the only point at which the CPU waits for a GPU.
        packed = torch.cat([result.reshape(hands, -1).float() for result in results], dim=1).cpu().numpy()
        parts = np.split(packed, np.cumsum([result[0].numel() for result in results])[:-1], axis=1)
        unpacked = {
            name: part.reshape(result.shape) for name, part, result in zip(self._outputs, parts, results, strict=True)
        }
        return unpacked | {"is_right": unpacked["is_right"] > 0.5}
