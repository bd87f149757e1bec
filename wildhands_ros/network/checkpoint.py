"""Loads networks into PyTorch, and writes checkpoints: safetensors files with the configuration in the metadata.

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
from ..io.errors import foreign_bytes
from ..types import Side
from .config import Preprocessing, WildHandsConfig
from .model import WildHands
from .network_file import CHECKPOINT_FORMAT, WEIGHTS_PREFIX, CheckpointError, open_network
from .onnx_file import read_weights


class LoadedModel(NamedTuple):
    model: WildHands
    """In evaluation mode and on the CPU."""
    assets: dict[Side, HandAsset] | None
    """The hand model whose parameters the network predicts, if the checkpoint includes it."""
    preprocessing: Preprocessing


def load_model(name_or_path: str | Path) -> LoadedModel:
    """Loads a network with its weights.

    Args:
        name_or_path: ``released``, ``default`` or the path of a file.

    Raises:
        CheckpointError: the file is missing or not usable.
    """
    file = open_network(name_or_path)
    weights = _onnx_weights(file.path) if file.is_onnx else _checkpoint_weights(file.path)
    model = empty_model(file.config)
    _check(file.path, weights, {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()})
    model.load_state_dict(weights, assign=True)
    return LoadedModel(model.eval(), file.hand_model, file.config.preprocessing)


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
    save_tensors(
        path, tensors, {"format": CHECKPOINT_FORMAT, "config": model.config.to_json(), "license": license_note}
    )


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


def _onnx_weights(path: Path) -> dict[str, Tensor]:
    with foreign_bytes(path, "an ONNX file of a network", CheckpointError):
        weights = read_weights(path)
    return {
        name.removeprefix(WEIGHTS_PREFIX): _full_precision(torch.from_numpy(values))
        for name, values in weights.items()
        if name.startswith(WEIGHTS_PREFIX)
    }


def _checkpoint_weights(path: Path) -> dict[str, Tensor]:
    with (
        foreign_bytes(path, "a safetensors file of a network", CheckpointError, "Import or download it again"),
        safe_open(path, framework="pt") as file,
    ):
        return {
            name.removeprefix("network."): _full_precision(file.get_tensor(name))
            for name in file.keys()  # noqa: SIM118 - not a dict
            if name.startswith("network.")
        }


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
