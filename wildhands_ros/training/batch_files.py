"""Saves batches to files, joins such files into one large batch, and selects hands from it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batches import Batch
from .targets import LABELS, Targets

_OF_TARGETS = {f.name for f in dataclasses.fields(Targets)}


def save_batch(batch: Batch, path: Path) -> None:
    """Write the tensors of a batch and what was skipped."""
    values = {
        f.name: getattr(batch, f.name)
        for f in dataclasses.fields(Batch)
        if f.name not in ("targets", "skipped", "details")
    }
    values |= {name: getattr(batch.targets, name) for name in _OF_TARGETS}
    skipped = {"skipped": dict(batch.skipped), "details": batch.details}
    torch.save({name: value for name, value in values.items() if value is not None} | skipped, path)


def load_joined(paths: Sequence[Path]) -> Batch:
    """Load all files as one batch; labels that only some files have are marked as not valid for the others.

    Raises:
        ValueError: Only some of the files have the teacher's output.
    """
    parts = [torch.load(path, mmap=True, weights_only=True) for path in paths]
    if len({"taught" in part for part in parts}) > 1:
        raise ValueError(
            f"only some of the files in {paths[0].parent} have the teacher's output; delete that folder to "
            "create it again"
        )
    rows = np.cumsum([0, *(len(part["is_right"]) for part in parts)])
    images = np.cumsum([0, *(part["num_images"] for part in parts)])
    kinds = {name: value for part in parts for name, value in part.items() if isinstance(value, Tensor)}
    tensors = {name: value.new_zeros(int(rows[-1]), *value.shape[1:]) for name, value in kinds.items()}
    for part, start, end, image in zip(parts, rows, rows[1:], images, strict=False):
        for name in tensors.keys() & part.keys():
            tensors[name][start:end] = part[name] + int(image) if name == "image_index" else part[name]
    names = tuple(name for part in parts for name in part["names"])
    skipped = sum((Counter(part["skipped"]) for part in parts), Counter())
    details = {reason: detail for part in reversed(parts) for reason, detail in part["details"].items()}
    return _batch(tensors, names, int(images[-1]), skipped, details)


def select_hands(batch: Batch, rows: Tensor, image_index: Tensor, num_images: int) -> Batch:
    """Select hands of a batch by their ``rows``; ``image_index`` (B,) states which of ``num_images`` images each
    belongs to."""
    values = {f.name: getattr(batch, f.name) for f in dataclasses.fields(Batch)}
    values |= {name: getattr(batch.targets, name) for name in _OF_TARGETS}
    tensors = {name: value[rows] for name, value in values.items() if isinstance(value, Tensor)}
    for flag, (label, _) in LABELS.items():
        if flag in tensors and not tensors[flag].any():
            del tensors[flag], tensors[label]
    all_names = batch.targets.names or ()
    names = tuple(all_names[row] for row in rows.tolist())
    return _batch(tensors | {"image_index": image_index}, names, num_images, Counter(), {})


def _batch(
    tensors: dict[str, Tensor], names: tuple[str, ...], num_images: int, skipped: Counter[str], details: dict[str, str]
) -> Batch:
    targets: dict[str, Any] = {name: value for name, value in tensors.items() if name in _OF_TARGETS}
    others: dict[str, Any] = {"crops": None, "images": None} | {
        name: v for name, v in tensors.items() if name not in _OF_TARGETS
    }
    return Batch(
        targets=Targets(num_images=num_images, names=names, **targets), skipped=skipped, details=details, **others
    )
