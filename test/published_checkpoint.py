"""Writes files in the layout of the published checkpoint, with random weights and a random hand in MANO's shapes."""

import argparse
import collections
import re
import sys
import types
from unittest import mock

import torch

from wildhands_ros.hand_model.joints import MANO_PARENTS
from wildhands_ros.network.config import RELEASED
from wildhands_ros.network.released import MANO_SHAPES, released_shapes


def random_hand(seed):
    """Returns smplx's tensors of a hand: random numbers in metres, with valid topology, weights and parents."""
    rng = torch.Generator().manual_seed(seed)
    tensors = {name: 0.03 * torch.randn(shape, generator=rng) for name, shape in MANO_SHAPES.items()}
    tensors["shapedirs"] *= 0.1
    tensors["posedirs"] *= 0.01
    tensors["hand_mean"] = 0.3 * torch.randn(45, generator=rng)
    tensors["pose_mean"] = torch.cat([torch.zeros(3), tensors["hand_mean"]])
    tensors["faces_tensor"] = torch.randint(0, 778, (1538, 3), generator=rng)
    tensors["parents"] = torch.tensor(MANO_PARENTS)
    tensors["J_regressor"] = torch.rand(16, 778, generator=rng).softmax(dim=1)
    tensors["lbs_weights"] = (3 * torch.randn(778, 16, generator=rng)).softmax(dim=1)
    tensors["vertex_joint_selector.extra_joints_idxs"] = torch.tensor([744, 320, 443, 554, 671])
    return tensors


def random_weights(config=RELEASED, seed=0):
    """Returns a state dict in the published layout.

    The weights are scaled so that activations neither vanish nor explode and every output differs from its initial
    value.
    """
    rng = torch.Generator().manual_seed(seed)
    hands = {"r": random_hand(1), "l": random_hand(2)}
    state = collections.OrderedDict()
    for key, shape in released_shapes(config).items():
        if match := re.match(r"(?:mano_(.)|model\.mano_(.)\.mano)\.(.+)", key):
            state[key] = hands[match[1] or match[2]][match[3]]
        elif key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(100)
        elif key.endswith("running_var"):
            state[key] = 0.5 + torch.rand(shape, generator=rng)
        elif len(shape) == 1:
            center = 0.6 if "bn" in key and key.endswith("weight") else 0.0
            state[key] = center + 0.1 * torch.randn(shape, generator=rng)
        else:
            gain = 0.5 if "decoders" in key else 1.4
            state[key] = torch.randn(shape, generator=rng) * gain / torch.tensor(shape[1:]).prod().sqrt()
    return state


def lightning_checkpoint(state):
    """Returns what PyTorch Lightning saves around a state dict, with objects of classes that the reader lacks."""
    foreign = types.ModuleType("pytorch_lightning.utilities.parsing")
    foreign.AttributeDict = type("AttributeDict", (dict,), {"__module__": foreign.__name__})
    options = foreign.AttributeDict(
        backbone="resnet50", img_res=224, args=argparse.Namespace(pos_enc="center+corner_latent")
    )
    checkpoint = {
        "epoch": 17,
        "global_step": 4242,
        "pytorch-lightning_version": "2.0.2",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 18}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'loss__val'}": {
                "best_model_score": torch.tensor(0.25),
                "dirpath": "logs/checkpoints",
            }
        },
        "optimizer_states": [
            {
                "state": {0: {"step": torch.tensor(4242.0), "exp_avg": torch.zeros(64, 3, 7, 7)}},
                "param_groups": [{"lr": 1e-5, "betas": (0.9, 0.999), "params": [0]}],
            }
        ],
        "lr_schedulers": [{"milestones": collections.Counter(), "gamma": 0.1, "base_lrs": [1e-5], "_last_lr": [1e-5]}],
        "hparams_name": "args",
        "hyper_parameters": options,
    }
    return checkpoint, foreign


def save_published(path, state, **replaced):
    """Saves a Lightning checkpoint; the foreign class must be importable while ``torch.save`` runs."""
    checkpoint, foreign = lightning_checkpoint(state)
    parts = foreign.__name__.split(".")
    packages = {".".join(parts[:i]): types.ModuleType(".".join(parts[:i])) for i in range(1, len(parts))}
    with mock.patch.dict(sys.modules, packages | {foreign.__name__: foreign}):
        torch.save(checkpoint | replaced, path)
    return path
