"""Inputs and outputs of the network's graphs, as every runtime sees them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..hand_model.asset import HandAsset
from ..network.config import GraspInput, WildHandsConfig
from ..network.trunk_kinds import TRUNKS
from ..types import Side

RIGHT, LEFT, BY_LANDMARKS = 1, 0, -1
"""Values of the input ``side``; ``BY_LANDMARKS`` leaves the decision to the landmark head."""


def mean_pose(hand_model: Mapping[Side, HandAsset]) -> np.ndarray:
    """Returns the mean poses of the left and the right hand, (2, 45) float32 in radians."""
    return np.stack([hand_model[side].hands_mean for side in (Side.LEFT, Side.RIGHT)]).astype(np.float32)


def detector_input(image_rgb: np.ndarray) -> np.ndarray:
    """Returns the hand detector's input, (1, 3, h, w) float32 in 0..1, of an (h, w, 3) uint8 image."""
    return np.ascontiguousarray(image_rgb.transpose(2, 0, 1)[None], dtype=np.float32) / 255


def has_landmarks(config: WildHandsConfig) -> bool:
    """Whether the network has a landmark head."""
    return TRUNKS[config.trunk].has_landmarks


def encoder_inputs(config: WildHandsConfig) -> tuple[str, ...]:
    """Returns the names of the encoder's inputs."""
    return ("crops", "kpe", "images", "image_index") if config.full_image_trunk else ("crops", "kpe")


def encoder_outputs(config: WildHandsConfig) -> tuple[str, ...]:
    """Returns the names of the encoder's outputs, see ``graph.Encoder``."""
    seen = config.grasp_input in (GraspInput.HAND_AND_CROP, GraspInput.HAND_AND_IMAGE)
    return ("features", "vector", "position", *(["seen_by_grasp"] if seen else []))


def used_encoder_outputs(config: WildHandsConfig) -> tuple[str, ...]:
    """Returns the names of those outputs of the encoder that the decoder reads."""
    unused = {"features": not has_landmarks(config), "position": not config.landmark_input}
    return tuple(name for name in encoder_outputs(config) if not unused.get(name, False))


def encoder_output_sizes(config: WildHandsConfig) -> dict[str, tuple[int, ...]]:
    """Returns the sizes of ``used_encoder_outputs`` after the first axis, by name."""
    channels = TRUNKS[config.trunk].channels
    sizes = {
        "features": (channels, 1, 1),
        "vector": (config.features,),
        "position": (config.encoding.channels(config.n_freq),),
        "seen_by_grasp": (channels, 1, 1),
    }
    return {name: sizes[name] for name in used_encoder_outputs(config)}


POOLED = "pooled"
"""Name of the output with the trunk's features. Older ONNX files have them inside the graph only, as ``features``."""

DECODER_INPUTS = ("side", "focal", "anchor", "turn")


def outputs(config: WildHandsConfig) -> tuple[str, ...]:
    """Returns the names of the network's outputs, which have one row per hand.

    ``is_right`` (B,) bool; ``transl`` (B, 3), ``global_orient`` (B, 3), ``hand_pose`` (B, 45) and ``betas`` (B, 10) as
    in ``ManoParameters``; ``grasp`` (B, 9) probabilities; ``landmarks`` (B, 21, 2) pixels of the crop; ``presence``
    (B,) and ``right`` (B,) probabilities; ``world`` (B, 21, 3) metres along the crop's axes; ``pooled``, the trunk's
    features averaged over the crop, (B, C, 1, 1).
    """
    names = ["is_right", "transl", "global_orient", "hand_pose", "betas"]
    if config.grasp_input is not GraspInput.NONE:
        names.append("grasp")
    if has_landmarks(config):
        names += ["landmarks", "presence", "right", "world", POOLED]
    return tuple(names)
