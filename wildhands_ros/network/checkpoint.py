"""This project's checkpoints: safetensors files with the network's configuration in the metadata.

A checkpoint may include its hand model. Tensors are named ``network.<key of WildHands.state_dict()>`` and
``mano.<right|left>.<smplx's name>``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..hand_model.asset import HandAsset
from ..hand_model.mano_files import mano_from_buffers
from ..io.paths import released_checkpoint
from ..types import Side
from .config import Preprocessing, WildHandsConfig
from .model import WildHands

RELEASED_NAME, DEFAULT_NAME = "released", "default"
"""Names of the imported published checkpoint and of the bundled weights, accepted wherever a checkpoint is named."""

_DEFAULT_WEIGHTS = Path(__file__).parent / "default_weights" / "default.safetensors"

_FORMAT = "wildhands_ros checkpoint 1"


class CheckpointError(ValueError):
    """A checkpoint is missing or not usable; the message says what to do."""


class LoadedModel(NamedTuple):
    model: WildHands
    """In evaluation mode and on the CPU."""
    assets: dict[Side, HandAsset] | None
    """The hand model whose parameters the network predicts, if the checkpoint includes it."""
    preprocessing: Preprocessing


def checkpoint_path(name_or_path: str | Path) -> Path:
    """Returns the path of a checkpoint.

    Args:
        name_or_path: ``released``, ``default`` or a path.

    Raises:
        CheckpointError: there is no such file.
    """
    if str(name_or_path) == DEFAULT_NAME:
        path = _DEFAULT_WEIGHTS
    elif str(name_or_path) == RELEASED_NAME:
        path = released_checkpoint()
        if not path.exists():
            raise CheckpointError(
                f"the released model has not been imported ({path} does not exist). Download the authors' "
                "wildhands.ckpt (see docs/released_model.md), then run: wildhands import-checkpoint wildhands.ckpt"
            )
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise CheckpointError(
                f"there is no checkpoint {str(name_or_path)!r}; give auto, {DEFAULT_NAME}, {RELEASED_NAME}, none "
                "or the path of a .safetensors file"
            )
    return path


def load_model(name_or_path: str | Path) -> LoadedModel:
    """Loads a checkpoint.

    Args:
        name_or_path: ``released``, ``default`` or the path of a file.

    Raises:
        CheckpointError: the checkpoint is missing or not usable.
    """
    path = checkpoint_path(name_or_path)
    config, network, hands = _read(path)
    model = empty_model(config)
    _check(path, network, {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()})
    model.load_state_dict(network, assign=True)
    assets = {
        side: mano_from_buffers({name: t.numpy() for name, t in buffers.items()}, side)
        for side, buffers in hands.items()
    }
    return LoadedModel(model.eval(), assets or None, config.preprocessing)


def save_checkpoint(
    path: Path, model: WildHands, hands: Mapping[Side, Mapping[str, Tensor]] | None = None, license_note: str = ""
) -> None:
    """Writes a checkpoint completely or not at all.

    Args:
        path: the file to write.
        model: the network.
        hands: smplx's buffers of the hand models of both sides.
        license_note: text for the metadata.

    Raises:
        OSError: the file cannot be written; the message gives the reason.
    """
    tensors = {f"network.{key}": tensor for key, tensor in model.state_dict().items()}
    for side, buffers in (hands or {}).items():
        tensors |= {f"mano.{side.value}.{name}": tensor for name, tensor in buffers.items()}
    save_tensors(path, tensors, {"format": _FORMAT, "config": model.config.to_json(), "license": license_note})


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file completely or not at all.

    Raises:
        OSError: the file cannot be written; the message gives the reason.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial, metadata)
        # safetensors writes files that other users cannot read; their nodes would not start.
        partial.chmod(0o666 & ~_umask())
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def empty_model(config: WildHandsConfig) -> WildHands:
    """Returns a network without memory for its weights, for ``load_state_dict(..., assign=True)``."""
    with torch.device("meta"):
        return WildHands(config)


def _read(path: Path) -> tuple[WildHandsConfig, dict[str, Tensor], dict[Side, dict[str, Tensor]]]:
    """Returns the configuration, the network's tensors by key, and the buffers of each side's hand model."""
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise CheckpointError(
                f"{path} is a PyTorch checkpoint; convert it first: wildhands import-checkpoint {path}"
            )
    network: dict[str, Tensor] = {}
    hands: dict[Side, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise CheckpointError(
                    f"{path} is a safetensors file, but not a checkpoint of this version of wildhands_ros"
                )
            config = WildHandsConfig.from_json(metadata.get("config", "null"))
            for name in file.keys():  # noqa: SIM118 - not a dict
                kind, _, key = name.partition(".")
                if kind == "network":
                    network[key] = _full_precision(file.get_tensor(name))
                elif kind == "mano":
                    side, _, key = key.partition(".")
                    hands.setdefault(Side(side), {})[key] = file.get_tensor(name)
                else:
                    raise CheckpointError(f"{path}: unexpected tensor {name}")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a safetensors file, or is incomplete ({error}); import or download it again"
        ) from error
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if hands and hands.keys() != set(Side):
        raise CheckpointError(f"{path} holds the hand model of one side only")
    return config, network, hands


def _full_precision(tensor: Tensor) -> Tensor:
    """Converts half precision, in which bundled weights are stored, to float32."""
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _check(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    check_keys(path, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, expected)
    if extra := sorted(tensors.keys() - expected.keys()):
        raise CheckpointError(f"{path}: the network has no place for {listing(extra)}")
    check_finite(path, tensors)


def check_keys(path: Path, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError, naming the tensors, if expected ones are missing or have another shape."""
    if missing := sorted(expected.keys() - shapes.keys()):
        raise CheckpointError(f"{path}: {len(missing)} of {len(expected)} tensors are missing: {listing(missing)}")
    if wrong := [f"{key} is {shapes[key]}, not {shape}" for key, shape in expected.items() if shapes[key] != shape]:
        raise CheckpointError(f"{path}: tensors of the wrong shape: {listing(wrong)}")


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError, naming the tensors, if any have NaN or infinite values."""
    # The extremes are NaN or infinite if any value is, and finding them takes no copy.
    if broken := [
        key for key, t in tensors.items() if t.is_floating_point() and not torch.stack(t.aminmax()).isfinite().all()
    ]:
        raise CheckpointError(f"{path}: NaN or infinite values in {listing(broken)}")


def listing(names: list[str]) -> str:
    """Returns the first five names and the number of the others."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
