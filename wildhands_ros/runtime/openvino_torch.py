"""Converts PyTorch modules to OpenVINO graphs: checkpoints without an ONNX file, and frozen stages in training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from ..io.cache_key import cache_key
from ..network.model import WildHands
from ..network.openvino_core import openvino_core
from ..network.weights_digest import weights_digest
from .graph import Decoder, Encoder, WholeNetwork, example_inputs
from .signature import DECODER_INPUTS, encoder_inputs, encoder_outputs


class TorchGraphs:
    """The ``openvino.NetworkGraphs`` of a module.

    Args:
        model: the network, in evaluation mode and on the CPU.
        mean_pose: see ``network.run_network``.
    """

    def __init__(self, model: WildHands, mean_pose: np.ndarray) -> None:
        self.config, self._model, self._mean_pose = model.config, model, mean_pose
        self.weights_name = cache_key([model.config.to_json(), weights_digest(model)])
        self.name = f"{self.weights_name}-{cache_key(mean_pose.tolist())}"
        self.encoder_outputs = encoder_outputs(model.config)
        self.decoder_inputs = (*self.encoder_outputs[:3], *DECODER_INPUTS, *self.encoder_outputs[3:])

    def whole(self) -> openvino.Model:
        examples = list(example_inputs(self.config).values())
        return convert(WholeNetwork(Encoder(self._model), Decoder(self._model, self._mean_pose)), examples)

    def encoder(self) -> openvino.Model:
        examples = example_inputs(self.config)
        return convert(Encoder(self._model), [examples[name] for name in encoder_inputs(self.config)])

    @torch.no_grad()
    def decoder(self) -> openvino.Model:
        examples = example_inputs(self.config)
        encoded = Encoder(self._model)(*(examples[name] for name in encoder_inputs(self.config)))
        examples |= dict(zip(self.encoder_outputs, encoded, strict=True))
        return convert(Decoder(self._model, self._mean_pose), [examples[name] for name in self.decoder_inputs])


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


class OpenVinoStages:
    """Runs the frozen first stages of a trunk in training, on inputs of one shape; in bfloat16 if the CPU has it."""

    def __init__(self, stages: nn.Module, shape: tuple[int, ...]) -> None:
        self._compiled = openvino_core().compile_model(convert(stages, [torch.zeros(shape)], [list(shape)]), "CPU")

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._compiled(x.numpy())[0].copy())
