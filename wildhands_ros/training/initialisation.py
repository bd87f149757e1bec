"""The initial network and the hand model of a training run."""

from __future__ import annotations

from torch import nn

from ..hand_model.asset import HandAsset
from ..hand_model.mano_files import load_hands
from ..network.checkpoint import load_model
from ..network.landmark_net import LandmarkNet
from ..network.model import WildHands
from ..types import Side
from .config import START_MEDIAPIPE, TrainingConfig
from .config_file import ConfigError
from .randomness import seed_torch

_WEIGHTS_PLACE = 0
"""Place of the initial weights' random numbers; training steps use the places from 1 on."""


def hand_assets(config: TrainingConfig) -> dict[Side, HandAsset]:
    """Load both hands of ``config.hand_model``.

    Raises:
        ValueError: MANO's files are missing.
    """
    return load_hands(config.hand_model)


def initial_network(config: TrainingConfig) -> WildHands:
    """Build the network with the weights of ``config.start``; all other weights are random, determined by the seed.

    Raises:
        ValueError: The weights do not match the network.
        ImportError: MediaPipe's landmark network is not installed.
    """
    seed_torch(config.seed, _WEIGHTS_PLACE)
    model = WildHands(config.network)
    if config.start == START_MEDIAPIPE:
        model.start_from(LandmarkNet.from_mediapipe())
        initialize_heads(model)
    elif config.start:
        initialize_heads(model)
        _copy_weights(model, load_model(config.start).model, config.start)
    return model


def initialize_heads(network: WildHands) -> None:
    """Initialise fusion and decoders as in He et al. (ICCV 2015).

    PyTorch's default initialisation shrinks the signal at each layer, which costs hundreds of steps on a pretrained
    trunk.
    """
    decoders = network.right_head, network.left_head
    outputs = [layer for part in decoders for layer in (part.pose, part.shape, part.camera, part.initial_camera[-1])]
    parts: list[nn.Module] = [
        part for part in (network.fusion, network.landmark_encoder, *decoders) if part is not None
    ]
    if network.grasp_head is not None:
        outputs.append(network.grasp_head.layers[-1])
        parts.append(network.grasp_head)
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and not any(module is output for output in outputs):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _copy_weights(model: WildHands, other: WildHands, name: str) -> None:
    """Copy the weights that both networks have, which must have the same shapes; the trunk must be among them."""
    own, given = model.state_dict(), other.state_dict()
    common = [key for key in given if key in own]
    if wrong := [key for key in common if own[key].shape != given[key].shape]:
        raise ConfigError(
            f"start: the weights of {name} do not match this network: {wrong[0]} is "
            f"{tuple(given[wrong[0]].shape)} there"
        )
    lacking = sorted({key.split(".")[0] for key in own if key not in given})
    if "hand_trunk" in lacking or not common:
        raise ConfigError(f"start: {name} belongs to another kind of network; it lacks {', '.join(lacking)}")
    model.load_state_dict({key: given[key] for key in common}, strict=False)
