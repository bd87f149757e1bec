"""``wildhands import-checkpoint``: converts the authors' published checkpoint without running anything in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..hand_model.mano_files import mano_from_buffers
from ..io.paths import released_checkpoint
from ..types import Side
from . import released
from .checkpoint import check_finite, check_keys, empty_model, listing, save_checkpoint
from .config import RELEASED, GraspInput
from .network_file import RELEASED_NAME, CheckpointError
from .torch_archive import ArchiveError, TensorRef, TorchArchive

LICENSE_NOTE = (
    "Network weights: CC BY-NC 4.0, from ARCTIC's code and data (non-commercial). Hand model: MANO licence, "
    "non-commercial research only, no redistribution."
)


@dataclass(frozen=True)
class ImportReport:
    """The contents of a published checkpoint and what was imported; ``str()`` is a summary for the user."""

    source: Path
    output: Path
    is_published: bool
    """Whether size and SHA-256 are those of the published file."""
    num_parameters: int
    """Number of the network's parameters, without the hand models."""
    grasp_input: GraspInput
    dropped: tuple[str, ...]
    """Names of the tensors of the unused object head."""
    left_over: tuple[str, ...]
    """Names of other tensors that the network does not have."""
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        found = "no grasp head (the published file has none)" if self.grasp_input is GraspInput.NONE else "a grasp head"
        lines = [f"imported {self.source} to {self.output}"]
        lines.append(f"network: {self.num_parameters / 1e6:.1f} M parameters, {found}; MANO hand models of both sides")
        if self.is_published:
            lines.append("this is the published file (size and SHA-256 match)")
        if self.dropped:
            lines.append(
                f"dropped {len(self.dropped)} tensors of the object head, which the released model does not use"
            )
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines.append(f"licence: {LICENSE_NOTE}")
        name = RELEASED_NAME if self.output == released_checkpoint() else self.output
        lines.append(
            f"use it: wildhands estimate INPUT --checkpoint {name}, or the node's parameter checkpoint: {name}"
        )
        return "\n".join(lines)


def import_checkpoint(path: str | Path, output: str | Path | None = None) -> ImportReport:
    """Converts a published checkpoint. After an error, nothing is written.

    Args:
        path: the authors' file.
        output: the file to write; by default the one that ``load_model("released")`` reads.

    Raises:
        CheckpointError: the file is refused, damaged or of another kind, or tensors are missing or have wrong shapes.
        OSError: a file cannot be read or written.
    """
    path, output = Path(path).expanduser(), Path(output).expanduser() if output else released_checkpoint()
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; docs/released_model.md says where to get wildhands.ckpt")
    if output.resolve() == path.resolve():
        raise CheckpointError(f"{output} is the input file; give another output")
    if output.is_dir():
        raise CheckpointError(f"{output} is a folder; give the name of a file to write")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to {output.parent}: {error.strerror}") from error
    try:
        with TorchArchive(path) as archive:
            return _import(archive, path, output)
    except ArchiveError as error:
        raise CheckpointError(str(error)) from error


def _import(archive: TorchArchive, path: Path, output: Path) -> ImportReport:
    refs = _state_dict(archive, path)
    shapes = {key: ref.shape for key, ref in refs.items()}
    grasp_input = released.released_grasp_input(shapes)
    config = dataclasses.replace(RELEASED, grasp_input=grasp_input)
    expected = released.released_shapes(config)
    check_keys(path, shapes, expected)
    extra = sorted(refs.keys() - expected.keys())
    dropped = tuple(key for key in extra if any(part in key for part in released.UNUSED))
    left_over = tuple(key for key in extra if key not in dropped)

    originals = [key for key in expected if not key.startswith(tuple(released.DUPLICATES))]
    tensors = {released.from_released_key(key): archive.read(refs[key]) for key in originals}
    check_finite(path, {released.to_released_key(key): tensor for key, tensor in tensors.items()})
    network = {key.removeprefix("network."): _float32(t) for key, t in tensors.items() if key.startswith("network.")}
    hands = {side: _hand_buffers(tensors, side) for side in Side}
    for side, buffers in hands.items():
        try:
            mano_from_buffers({name: tensor.numpy() for name, tensor in buffers.items()}, side)
        except ValueError as error:
            raise CheckpointError(f"{path}: the {side.value} hand model is damaged: {error}") from error

    warnings = []
    if left_over:
        warnings.append(f"not imported, because the network has no such tensors: {listing(list(left_over))}")
    for prefix, original in released.DUPLICATES.items():
        if any(
            not archive.read(refs[prefix + n]).equal(archive.read(refs[original + n])) for n in released.MANO_BUFFERS
        ):
            warnings.append(
                f"the file's two copies of a hand model differ ({prefix}*, {original}*); the second is kept"
            )
    is_published = _is_published(path)
    if not is_published:
        warnings.append("this is not the published file: its size or SHA-256 differs. Its keys and shapes match")

    model = empty_model(config)
    model.load_state_dict(network, assign=True)
    save_checkpoint(output, model, hands, LICENSE_NOTE)
    return ImportReport(
        source=path,
        output=output,
        is_published=is_published,
        num_parameters=sum(p.numel() for p in model.parameters()),
        grasp_input=grasp_input,
        dropped=dropped,
        left_over=left_over,
        warnings=tuple(warnings),
    )


def _state_dict(archive: TorchArchive, path: Path) -> dict[str, TensorRef]:
    root = archive.root
    state = root.get("state_dict") if isinstance(root, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"{path} has no state_dict: it is not the PyTorch-Lightning checkpoint that the authors published"
        )
    if odd := [
        str(key) for key, value in state.items() if not isinstance(key, str) or not isinstance(value, TensorRef)
    ]:
        raise CheckpointError(f"{path}: not tensors: {listing(odd)}")
    return state


def _hand_buffers(tensors: Mapping[str, Tensor], side: Side) -> dict[str, Tensor]:
    return {name: tensors[f"mano.{side.value}.{name}"] for name in released.MANO_BUFFERS}


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _is_published(path: Path) -> bool:
    if path.stat().st_size != released.PUBLISHED_SIZE:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == released.PUBLISHED_SHA256
