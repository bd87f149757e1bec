"""Files of networks: what they hold beside the weights, read without PyTorch.

ONNX files are what runtimes read directly: the bundled networks and what ``wildhands export-onnx`` writes. Checkpoints
are safetensors files with the network's configuration in the metadata; they need PyTorch (see ``checkpoint``) and may
include their hand model.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ..hand_model.asset import HandAsset
from ..hand_model.mano_files import mano_from_buffers
from ..io.errors import InputError, foreign_bytes
from ..io.paths import released_checkpoint
from ..types import Side
from .config import WildHandsConfig
from .onnx_file import OnnxError, read_metadata

RELEASED_NAME, DEFAULT_NAME = "released", "default"
"""Names of the imported published checkpoint and of the bundled weights, accepted wherever a checkpoint is named."""

DEFAULT_NETWORK = Path(__file__).parent / "default_weights" / "default.onnx"
DEFAULT_DETECTOR = Path(__file__).parent / "detector_weights" / "detector.onnx"
SECOND_STAGE_DETECTOR = DEFAULT_DETECTOR.with_name("second_stage.onnx")
"""Weights of the same network, trained on crops around the proposals of the first one."""

NETWORK_FORMAT, DETECTOR_FORMAT = "wildhands_ros network 1", "wildhands_ros hand detector 1"
"""Metadata ``format`` of ONNX files."""
CHECKPOINT_FORMAT = "wildhands_ros checkpoint 1"
"""Metadata ``format`` of safetensors files."""
WEIGHTS_PREFIX = "encoder.model."
"""An ONNX file names the network's weights by this and the key of ``WildHands.state_dict()``."""


class CheckpointError(InputError):
    """A checkpoint is missing or not usable; the message says what to do."""


@dataclass(frozen=True)
class NetworkFile:
    """An ONNX file or a checkpoint of a WildHands network."""

    path: Path
    config: WildHandsConfig
    hand_model: dict[Side, HandAsset] | None
    """The hand model whose parameters the network predicts, if the checkpoint includes it."""
    digest: str | None
    """SHA-256 of an ONNX file; None for a checkpoint."""
    mean_pose: np.ndarray | None
    """(2, 45) float32 mean poses in the graph of an ONNX file, see ``runtime.signature``; None for a checkpoint."""

    @property
    def is_onnx(self) -> bool:
        return self.digest is not None


def checkpoint_path(name_or_path: str | Path) -> Path:
    """Returns the path of a checkpoint.

    Args:
        name_or_path: ``released``, ``default`` or a path.

    Raises:
        CheckpointError: there is no such file.
    """
    if str(name_or_path) == DEFAULT_NAME:
        path = DEFAULT_NETWORK
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
            "or the path of an .onnx or .safetensors file"
        )
    return path


def open_network(name_or_path: str | Path) -> NetworkFile:
    """Reads everything but the weights of a network.

    Args:
        name_or_path: ``released``, ``default`` or the path of a file.

    Raises:
        CheckpointError: the file is missing or not usable.
    """
    path = checkpoint_path(name_or_path)
    if path.suffix == ".onnx":
        with foreign_bytes(path, "an ONNX file of a network", CheckpointError, "Export or download it again"):
            return _open_onnx(path)
    with foreign_bytes(path, "a safetensors file of a network", CheckpointError, "Import or download it again"):
        return _open_checkpoint(path)


def detector_digest(path: Path) -> str:
    """Returns the SHA-256 of a hand detector's file.

    Raises:
        ValueError: the file does not hold a hand detector.
        OSError: the file cannot be read.
    """
    if not path.is_file():
        raise OSError(f"there are no weights of a hand detector at {path}")
    content = path.read_bytes()
    try:
        metadata = read_metadata(content)
    except OnnxError as error:
        raise ValueError(f"{path} does not hold a hand detector: {error}") from error
    if metadata.get("format") != DETECTOR_FORMAT:
        raise ValueError(f"{path} does not hold a hand detector of this version of wildhands_ros")
    return hashlib.sha256(content).hexdigest()


def _open_onnx(path: Path) -> NetworkFile:
    content = path.read_bytes()
    metadata = read_metadata(content)
    if metadata.get("format") != NETWORK_FORMAT:
        raise CheckpointError(f"{path} is an ONNX file, but not a network of this version of wildhands_ros")
    config = WildHandsConfig.from_json(metadata.get("config", "null"))
    mean_pose = np.array(json.loads(metadata.get("mean_pose", "null")), np.float32)
    if mean_pose.shape != (2, 45):
        raise CheckpointError(f"{path} lacks the mean pose of its hand model; export it again")
    return NetworkFile(path, config, None, hashlib.sha256(content).hexdigest(), mean_pose)


def _open_checkpoint(path: Path) -> NetworkFile:
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            raise CheckpointError(
                f"{path} is a PyTorch checkpoint; convert it first: wildhands import-checkpoint {path}"
            )
    hands: dict[Side, dict[str, np.ndarray]] = {}
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != CHECKPOINT_FORMAT:
            raise CheckpointError(
                f"{path} is a safetensors file, but not a checkpoint of this version of wildhands_ros"
            )
        config = WildHandsConfig.from_json(metadata.get("config", "null"))
        for name in file.keys():  # noqa: SIM118 - not a dict
            kind, _, key = name.partition(".")
            if kind == "mano":
                side, _, key = key.partition(".")
                hands.setdefault(Side(side), {})[key] = file.get_tensor(name)
            elif kind != "network":
                raise CheckpointError(f"{path}: unexpected tensor {name}")
    if hands and hands.keys() != set(Side):
        raise CheckpointError(f"{path} holds the hand model of one side only")
    assets = {side: mano_from_buffers(buffers, side) for side, buffers in hands.items()}
    return NetworkFile(path, config, assets or None, None, None)
