"""What all commands share that label photographs and write the labels to one COCO-style file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from ...io.errors import InputError
from ...io.progress import warn, with_progress
from ...runtime.processes import in_processes

_Item = TypeVar("_Item")


def spread_evenly(items: Sequence[_Item], limit: int | None) -> Sequence[_Item]:
    """Return at most ``limit`` of the items, spread evenly over them; all if it is None.

    Raises:
        InputError: ``limit`` is not positive.
    """
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be at least 1, not {limit}")
    if limit is None or limit >= len(items):
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).astype(int)]


def labelled(label: Callable[[_Item], dict[str, Any]], images: Sequence[_Item], workers: int) -> Iterator[dict]:
    """Label images in several processes, show the progress, and name those that are left out.

    Args:
        label: Returns ``image`` and ``annotations`` of an image, or why it cannot be labelled as ``error``.
        images: The images.
        workers: Number of processes.

    Yields:
        What ``label`` returns for images that could be labelled.
    """
    for result in with_progress(in_processes(label, images, workers), len(images), "image"):
        if "error" in result:
            warn(f"left out: {result['error']}")
        else:
            yield result


def coco(results: Sequence[dict]) -> dict[str, Any]:
    """Return the content of a COCO-style file from the results of ``labelled``, which it numbers."""
    images: list[dict] = []
    annotations: list[dict] = []
    for number, result in enumerate(results):
        images.append({"id": number, **result["image"]})
        for entry in result["annotations"]:
            annotations.append({"id": len(annotations), "image_id": number, "category_id": 1, **entry})
    return {"categories": [{"id": 1, "name": "hand"}], "images": images, "annotations": annotations}
