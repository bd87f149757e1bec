"""The published checkpoint: its keys, the corresponding keys here, and how to recognise the file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import torch

from .config import RELEASED, GraspInput, WildHandsConfig
from .model import WildHands

PUBLISHED_SIZE = 855_094_722
"""Size of the authors' ``wildhands.ckpt`` in bytes."""
PUBLISHED_SHA256 = "cac3f9a9334da852f3993e95b4ec088dcc6c69f0337db63dacd83e4642880a7b"

KEY_PREFIXES = {
    "network.image_trunk.": "model.backbone.",
    "network.hand_trunk.": "model.hand_backbone.",
    "network.fusion.layers.": "model.feature_conv.",
    "network.right_head.refine.": "model.head_r.hmr_layer.refine.",
    "network.right_head.pose.": "model.head_r.hmr_layer.decoders.pose_6d.",
    "network.right_head.camera.": "model.head_r.hmr_layer.decoders.cam_t/wp.",
    "network.right_head.shape.": "model.head_r.hmr_layer.decoders.shape.",
    "network.right_head.initial_camera.": "model.head_r.cam_init.",
    "network.left_head.refine.": "model.head_l.hmr_layer.refine.",
    "network.left_head.pose.": "model.head_l.hmr_layer.decoders.pose_6d.",
    "network.left_head.camera.": "model.head_l.hmr_layer.decoders.cam_t/wp.",
    "network.left_head.shape.": "model.head_l.hmr_layer.decoders.shape.",
    "network.left_head.initial_camera.": "model.head_l.cam_init.",
    "network.grasp_head.layers.": "model.grasp_classifier.",
    "mano.right.": "model.mano_r.mano.",
    "mano.left.": "model.mano_l.mano.",
}
"""Published key prefix by this project's prefix. The rest of the key is the same in both."""

DUPLICATES = {"mano_r.": "model.mano_r.mano.", "mano_l.": "model.mano_l.mano."}
"""The published file holds the hand models twice: prefix of the imported copy by prefix of the other one."""

UNUSED = ("head_o", "arti_head")
"""Parts of keys of the object head, which the released model does not use."""

GRASP_PREFIX = "model.grasp_classifier."
"""Prefix of the keys of the grasp head, which is only used in training; the published file is not known to have one."""

MANO_SHAPES = {
    "betas": (1, 10),
    "global_orient": (1, 3),
    "body_pose": (1, 3),
    "hand_pose": (1, 45),
    "shapedirs": (778, 3, 10),
    "faces_tensor": (1538, 3),
    "v_template": (778, 3),
    "J_regressor": (16, 778),
    "posedirs": (135, 2334),
    "parents": (16,),
    "lbs_weights": (778, 16),
    "hand_mean": (45,),
    "pose_mean": (48,),
    "vertex_joint_selector.extra_joints_idxs": (5,),
}
"""Shapes of smplx's tensors of one hand model."""

MANO_BUFFERS = tuple(name for name in MANO_SHAPES if name not in ("betas", "global_orient", "body_pose", "hand_pose"))
"""The tensors that describe the hand; the others are not used."""


def to_released_key(key: str) -> str:
    """Returns the published key of one of this project's keys.

    Raises:
        KeyError: the published checkpoint has no such tensor.
    """
    return _replace_prefix(key, KEY_PREFIXES)


def from_released_key(key: str) -> str:
    """The inverse of ``to_released_key``."""
    return _replace_prefix(key, {theirs: ours for ours, theirs in KEY_PREFIXES.items()})


@cache
def released_shapes(config: WildHandsConfig = RELEASED) -> Mapping[str, tuple[int, ...]]:
    """Returns the shapes of all published tensors by key: 729 for the released model, more with a grasp head."""
    with torch.device("meta"):
        network = WildHands(config).state_dict()
    shapes = {to_released_key(f"network.{key}"): tuple(tensor.shape) for key, tensor in network.items()}
    for prefix, original in DUPLICATES.items():
        for name, shape in MANO_SHAPES.items():
            shapes[prefix + name] = shapes[original + name] = shape
    return MappingProxyType(shapes)


def released_grasp_input(shapes: dict[str, tuple[int, ...]]) -> GraspInput:
    """Returns the kind of grasp head that a file with these keys and shapes has."""
    shape = shapes.get(GRASP_PREFIX + "0.weight")
    if shape is None:
        return GraspInput.NONE
    return GraspInput.HAND_AND_IMAGE if shape[-1] > 1000 else GraspInput.HAND


def _replace_prefix(key: str, prefixes: dict[str, str]) -> str:
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    raise KeyError(key)
