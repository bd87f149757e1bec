"""Runs the network on PyTorch: on GPUs, and on CPUs without OpenVINO."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from ..network.detector_net import load_detector
from ..network.model import WildHands
from ..network.preprocessing import NetworkInput
from .graph import Decoder, Encoder
from .signature import DECODER_INPUTS, detector_input, encoder_inputs, outputs


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

    def __init__(self, model: WildHands, mean_pose: np.ndarray, precision: str, device: str) -> None:
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
        self._inputs, self._outputs = encoder_inputs(model.config), outputs(model.config)
        self.name = f"{self._device} (PyTorch, {precision})"

    @torch.inference_mode()
    def __call__(self, inputs: NetworkInput, side: np.ndarray) -> dict[str, np.ndarray]:
        hands = len(side)
        arrays = {"image_index": np.zeros(hands, np.int64), **inputs.arrays(), "side": side}
        values = {name: torch.from_numpy(array) for name, array in arrays.items()}
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


class TorchDetector:
    """Runs the hand detector's network on PyTorch, on the CPU.

    Args:
        path: the detector's ONNX file.

    Raises:
        ValueError: the file does not hold a hand detector.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._net = load_detector(path)

    @torch.inference_mode()
    def __call__(self, image_rgb: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the outputs of ``HandDetectorNet`` for an (h, w, 3) uint8 image, without their batch axis."""
        return tuple(output[0].numpy() for output in self._net(torch.from_numpy(detector_input(image_rgb))))
